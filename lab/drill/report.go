package drill

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A Report has the cards of a client for all its scenarios.
type Report struct {
	Client   string  `json:"client"`
	Interval string  `json:"interval"`
	Machine  string  `json:"machine"`
	Cards    []*Card `json:"cards"`
}

// Missed returns the number of limits that were missed.
func (r *Report) Missed() (n int) {
	for _, c := range r.Cards {
		n += len(c.Missed())
	}
	return n
}

// Verdict describes whether the measured value keeps the limit, and by how much.
func (r Row) Verdict() string {
	switch {
	case r.Limit == nil:
		return ""
	case r.Missed():
		return "MISSED by " + r.in(r.Measured-*r.Limit)
	case r.Measured == *r.Limit:
		return "kept"
	}
	return "kept by " + r.in(*r.Limit-r.Measured)
}

// Value returns the measured value with its unit.
func (r Row) Value() string { return r.in(r.Measured) }

// Most returns the limit with its unit, or "" if there is no limit.
func (r Row) Most() string {
	if r.Limit == nil {
		return ""
	}
	return "at most " + r.in(*r.Limit)
}

// in returns a number with the unit of the row.
func (r Row) in(n float64) string {
	text := strconv.FormatFloat(round(n), 'f', -1, 64)
	if r.Unit == "" {
		return text
	}
	return text + " " + r.Unit
}

// Print prints the report card for a person.
func (r *Report) Print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, a reading each %s, on %s\n", r.Client, r.Interval, r.Machine)
	for _, c := range r.Cards {
		c.print(&b)
	}
	fmt.Fprintf(&b, "\n%d of %d scenarios passed.\n", r.Passed(), len(r.Cards))
	_, err := io.WriteString(out, withoutBlanks(b.String()))
	return err
}

// print prints the card: the verdict and the findings first, then the figures, then what they come from.
func (c *Card) print(b *strings.Builder) {
	verdict := "passed"
	if n := len(c.Missed()); n > 0 {
		verdict = fmt.Sprintf("MISSED %d", n)
	}
	fmt.Fprintf(b, "\n%s: %s. %s\n", c.Scenario, verdict, c.About)
	for _, finding := range c.Findings {
		fmt.Fprintln(b, finding)
	}
	fmt.Fprintln(b, c.Summary())
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, row := range c.Rows {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", row.What, row.Value(), row.Most(), row.Verdict(), row.Note)
	}
	table.Flush()
	for _, o := range c.Outages {
		fmt.Fprintf(b, "  recovery after %s: %s (%s)\n", o.After, seconds(o.duration()), o.Parts)
	}
	for _, refusal := range c.Refusals {
		fmt.Fprintf(b, "  %s\n", refusal)
	}
	for _, rule := range c.Breaches {
		fmt.Fprintf(b, "  broken rule: %s\n", rule)
	}
	if len(c.Output) > 0 {
		fmt.Fprintf(b, "  the client's last output:\n    %s\n", strings.Join(c.Output, "\n    "))
	}
}

// Summary says how many readings there were, and how long the scenario was.
func (c *Card) Summary() string {
	text := fmt.Sprintf("%s in %.0f s.", counted(c.Readings, "reading"), c.Seconds)
	if c.NotRun > 0 {
		text += fmt.Sprintf(" The scenario ended with the client; the rows count the remaining %.0f s as well.",
			c.NotRun)
	}
	return text
}

// Passed returns the number of scenarios without a missed limit.
func (r *Report) Passed() (n int) {
	for _, c := range r.Cards {
		if len(c.Missed()) == 0 {
			n++
		}
	}
	return n
}

// withoutBlanks removes the spaces that the table leaves at the ends of lines.
func withoutBlanks(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
