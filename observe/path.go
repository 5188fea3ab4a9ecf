package observe

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// maxName is the largest number of characters of a name that shown keeps.
const maxName = 80

// A path is the table that Trace prints. It keeps rows back so that it can align their columns.
type path struct {
	out    io.Writer
	rows   []row
	widths [6]int
	day    string // latest day that was printed
}

// A row is one line: the cells of a transition, or one cell with a sentence.
type row struct {
	time   time.Time
	device string
	cells  []string
}

func (p *path) transition(r Record) {
	cells := []string{r.From, "-> " + r.To, words(r.Event, bracketed(r.Cause)), r.Hub, "", ""}
	if r.SpentMS > 0 {
		cells[4] = "after " + Span(r.spent())
	}
	if r.Repeated > 0 {
		cells[5] = fmt.Sprintf("… %d more like this", r.Repeated)
	}
	for i, c := range cells {
		p.widths[i] = max(p.widths[i], utf8.RuneCountInString(c))
	}
	p.rows = append(p.rows, row{r.Time, r.Device, cells})
}

func (p *path) outcome(r Record) {
	p.rows = append(p.rows, row{r.Time, r.Device, []string{r.text()}})
}

// print prints the rows that were kept back, with a line for each new day. deviceWidth is the width
// of the column for device names; zero means that there is no such column.
func (p *path) print(deviceWidth int) {
	for _, r := range p.rows {
		at := r.time.UTC()
		if day := at.Format(time.DateOnly); day != p.day {
			p.day = day
			fmt.Fprintln(p.out, day, "UTC")
		}
		line := at.Format("15:04:05.000")
		if deviceWidth > 0 {
			line = fmt.Sprintf("%-*s  %s", deviceWidth, r.device, line)
		}
		for i, c := range r.cells {
			switch {
			case i == 1:
				line += " " // before the arrow
			case i == 0 || p.widths[i] > 0:
				line += "  "
			}
			line += fmt.Sprintf("%-*s", p.widths[i], c)
		}
		fmt.Fprintln(p.out, strings.TrimRight(line, " "))
	}
	p.rows = p.rows[:0]
}

// shown returns a name as Trace prints it: cut to maxName characters, without control characters.
func shown(s string) string {
	if utf8.RuneCountInString(s) > maxName {
		s = string([]rune(s)[:maxName-1]) + "…"
	}
	return printable(s)
}
