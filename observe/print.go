package observe

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/rs/zerolog"
)

// NewPrinter is an observer that prints records of at least this level to w with zerolog: as JSON lines, or for people.
// A record is one Write; if w may be shared, so may the observer.
func NewPrinter(w io.Writer, json bool, least Level) func(Record) {
	if !json {
		w = console(w)
	}
	log := zerolog.New(w)
	floor := zerologLevel(least)
	return func(r Record) {
		level := zerologLevel(r.Level)
		if level < floor {
			return
		}
		r = r.Describe()
		if !json {
			r = forPeople(r)
		}
		log.WithLevel(level).EmbedObject(r).Msg(r.Message)
	}
}

func zerologLevel(l Level) zerolog.Level {
	switch l {
	case Debug:
		return zerolog.DebugLevel
	case Warn:
		return zerolog.WarnLevel
	}
	return zerolog.InfoLevel
}

// MarshalZerologObject writes the fields that zerolog does not write itself, under the names that Record's JSON has.
// zerolog's own time is a global setting and too coarse.
func (r Record) MarshalZerologObject(e *zerolog.Event) {
	e.Str("time", r.Time.UTC().Format(time.RFC3339Nano)).Str("kind", string(r.Kind))
	for _, f := range []struct{ name, value string }{
		{"device", r.Device}, {"from", r.From}, {"to", r.To}, {"phase", string(r.Phase)}, {"state", r.State}, {"event", r.Event},
		{"cause", r.Cause}, {"error", r.Error}, {"hub", r.Hub}, {"from_hub", r.FromHub}, {"outcome", r.Outcome},
		{"id", r.ID}, {"name", r.Name},
	} {
		if f.value != "" {
			e.Str(f.name, f.value)
		}
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"count", int64(r.Count)},
		{"attempt", int64(r.Attempt)}, {"spent_ms", r.SpentMS}, {"step_ms", r.StepMS},
		{"status", int64(r.Status)}, {"bytes", int64(r.Bytes)},
		{"repeated", int64(r.Repeated)},
	} {
		if f.value != 0 {
			e.Int64(f.name, f.value)
		}
	}
	if !r.Next.IsZero() {
		e.Str("next", r.Next.UTC().Format(time.RFC3339Nano))
	}
}

// forPeople keeps what no line has said yet besides the message: the error in full, and how many lines were left out.
// A wait has the error of the transition before it.
func forPeople(r Record) Record {
	short := Record{Time: r.Time, Message: printable(r.Message), Repeated: r.Repeated}
	if r.Kind != Waiting && r.Error != r.Message {
		short.Error = r.Error
	}
	return short
}

// printable keeps a name that came over the network from moving the cursor or starting a line of its own.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsPrint(c):
			return c
		}
		return unicode.ReplacementChar
	}, s)
}

func console(w io.Writer) io.Writer {
	return zerolog.ConsoleWriter{
		Out: w, NoColor: true,
		PartsOrder:      []string{"time", "level", "message"},
		FieldsExclude:   []string{"kind"},
		FormatTimestamp: func(v any) string { return clock(v) },
	}
}

func clock(v any) string {
	t, err := time.Parse(time.RFC3339Nano, fmt.Sprint(v))
	if err != nil {
		return fmt.Sprint(v)
	}
	return t.Local().Format("15:04:05.000")
}
