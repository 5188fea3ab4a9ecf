package observe

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/rs/zerolog"
)

// NewPrinter returns an observer that prints records to w with zerolog, as JSON lines or for
// people. It leaves out records of a lower level than least. Each record is one call of w.Write.
// The observer is safe for concurrent use if w is.
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

// MarshalZerologObject writes all fields except the level and the message, under their names in the
// JSON of Record. It writes the time itself, because the format of zerolog's time is a global
// setting and too coarse.
func (r Record) MarshalZerologObject(e *zerolog.Event) {
	e.Str("time", r.Time.UTC().Format(time.RFC3339Nano)).Str("kind", string(r.Kind))
	for _, f := range []struct {
		name, text string
		number     int64
	}{
		{"device", r.Device, 0}, {"from", r.From, 0}, {"to", r.To, 0}, {"phase", string(r.Phase), 0},
		{"state", r.State, 0}, {"event", r.Event, 0}, {"cause", r.Cause, 0}, {"error", r.Error, 0},
		{"hub", r.Hub, 0}, {"from_hub", r.FromHub, 0},
		{"outcome", r.Outcome, 0}, {"id", r.ID, 0}, {"name", r.Name, 0},
		{"count", "", int64(r.Count)}, {"attempt", "", int64(r.Attempt)}, {"spent_ms", "", r.SpentMS},
		{"step_ms", "", r.StepMS},
		{"status", "", int64(r.Status)}, {"bytes", "", int64(r.Bytes)}, {"repeated", "", int64(r.Repeated)},
	} {
		switch {
		case f.text != "":
			e.Str(f.name, f.text)
		case f.number != 0:
			e.Int64(f.name, f.number)
		}
	}
	if !r.Next.IsZero() {
		e.Str("next", r.Next.UTC().Format(time.RFC3339Nano))
	}
}

// forPeople keeps the time, the message, the number of records that were left out, and the error.
// It leaves out an error that was printed already: a Waiting record repeats the error of the
// transition before it, and some messages are the error itself.
func forPeople(r Record) Record {
	short := Record{Time: r.Time, Message: printable(r.Message), Repeated: r.Repeated}
	if r.Kind != Waiting && r.Error != r.Message {
		short.Error = r.Error
	}
	return short
}

// printable replaces control characters and other characters that are not printable, because a name
// from the network could use them to move the cursor or to begin a new line.
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
