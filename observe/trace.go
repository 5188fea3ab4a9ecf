package observe

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

var outcomes = []string{Reconnected, FailedOver, FailedBack}

const (
	maxLine = 1 << 20 // largest length of a line, in bytes
	maxRows = 4096    // largest number of rows that are kept back to align their columns
)

// Trace reads the JSON lines of NewPrinter from r, and prints to w the path of each device through
// its states: a line for each transition, each outage that ended and each step of the clock, and a
// summary. Times are UTC. Trace ignores text that log systems put before or around a line. It skips
// and counts lines without a record, such as an incomplete last line.
func Trace(r io.Reader, w io.Writer) error {
	out := bufio.NewWriter(w)
	t := tracer{path: path{out: out}, devices: map[string]*traced{}, ended: map[string]*tally{}}
	for _, outcome := range outcomes {
		t.ended[outcome] = &tally{}
	}
	err := t.read(r)
	t.path.print(t.deviceWidth())
	fmt.Fprintf(out, "\n%s\n", t.summary())
	if err = errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("observe: trace: %w", err)
	}
	return nil
}

type tracer struct {
	path    path
	devices map[string]*traced
	ended   map[string]*tally // outages that have ended; the key is the outcome
	other   int               // number of lines without a record

	transitions, warnings, accepted, delivered, dropped int
}

// traced is the state of one device.
type traced struct {
	lost time.Time // beginning of the current outage. Zero means that there is no outage
	last time.Time // time of the latest transition
}

// clockSet moves the noted times by a step of the wall clock, so that the step does not change the
// length of an outage.
func (d *traced) clockSet(by time.Duration) {
	d.last = d.last.Add(by)
	if !d.lost.IsZero() {
		d.lost = d.lost.Add(by)
	}
}

func (t *tracer) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			line = []byte("too long")
			_, err = in.ReadSlice('\n')
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			t.line(line)
		}
		if len(t.path.rows) >= maxRows {
			t.path.print(t.deviceWidth())
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// record returns the record in a line, and reports whether the line contains one. It skips text
// before the record, because journald, Docker Compose and container runtimes put text before each
// line, and a log that was truncated while it was written begins with zero bytes. It also reads
// Docker's log files, in which each line is a string in a JSON object.
func record(line []byte) (r Record, ok bool) {
	line = line[max(0, bytes.IndexByte(line, '{')):]
	var wrapped struct {
		Record
		Log string `json:"log"`
	}
	err := json.Unmarshal(line, &wrapped)
	r = wrapped.Record
	if err == nil && r.Kind == "" && wrapped.Log != "" {
		err = json.Unmarshal([]byte(wrapped.Log), &r)
	}
	return r, err == nil && r.Kind != "" && !r.Time.IsZero()
}

func (t *tracer) line(line []byte) {
	r, ok := record(line)
	if !ok {
		t.other++
		return
	}
	for _, name := range []*string{&r.Device, &r.From, &r.To, &r.Event, &r.Cause, &r.Hub, &r.FromHub, &r.Outcome} {
		*name = shown(*name)
	}
	d := t.devices[r.Device]
	if d == nil {
		d = &traced{}
		t.devices[r.Device] = d
	}
	switch r.Kind {
	case Transition:
		t.transitions += 1 + r.Repeated
		t.path.transition(r)
		d.moved(r)
	case Outcome:
		t.path.outcome(r)
		if o := t.ended[r.Outcome]; o != nil {
			o.add(r.spent())
		}
	case Clock:
		t.path.outcome(r)
		d.clockSet(r.step())
	case Warning:
		t.warnings += 1 + r.Repeated
	case Accepted:
		t.accepted++
	case Delivered:
		t.delivered++
	case Dropped:
		t.dropped += r.readings()
	}
}

// deviceWidth returns the width of the longest device name, or zero if there is at most one device.
func (t *tracer) deviceWidth() (width int) {
	if len(t.devices) > 1 {
		for device := range t.devices {
			width = max(width, utf8.RuneCountInString(device))
		}
	}
	return width
}

// moved notes the beginning or the end of an outage.
func (d *traced) moved(r Record) {
	d.last = r.Time
	switch phase := phaseOf(r); {
	case phase == Connected:
		d.lost = time.Time{}
	case phase == Disconnected && d.lost.IsZero():
		d.lost = r.Time
	}
}

// phaseOf returns the phase of a transition. Logs of earlier versions have no phases, so phaseOf
// derives them from the other fields: a transition with a hub and without an attempt is
// Disconnected if it has a cause, otherwise Connected. This rule is wrong in one case: a device
// that was closed while it was connecting counts as connected, so its last outage is missing in the
// summary.
func phaseOf(r Record) Phase {
	switch {
	case r.Phase != "" || r.Hub == "" || r.Attempt > 0:
		return r.Phase
	case r.Cause != "":
		return Disconnected
	}
	return Connected
}
