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
	maxLine = 1 << 20 // bytes; a longer line is no record
	maxRows = 4096    // that are held back to align them
)

// Trace reads the JSON lines that NewPrinter has printed and prints the path that each device took through its states:
// a line for each transition and for each outage that ended, and a summary. Times are UTC. What others put before or around
// a line is left out. Lines that hold no record, such as a last one that was cut short, are skipped and counted.
func Trace(r io.Reader, w io.Writer) error {
	out := bufio.NewWriter(w)
	t := tracer{path: path{out: out}, devices: map[string]*traced{}, ended: map[string]*tally{}}
	for _, outcome := range outcomes {
		t.ended[outcome] = &tally{}
	}
	err := t.read(r)
	t.path.print(t.prefix())
	fmt.Fprintf(out, "\n%s\n", t.summary())
	if err = errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("observe: trace: %w", err)
	}
	return nil
}

type tracer struct {
	path    path
	devices map[string]*traced
	ended   map[string]*tally // outages, by outcome
	other   int               // lines

	transitions, warnings, taken, delivered, dropped int
}

// traced is what is remembered of one device.
type traced struct {
	lost time.Time // when the outage began that it is in; zero: it is in none
	last time.Time // its latest transition
}

// clockSet has the times before it be of the clock as it is now, so that an outage lasts no longer because of it.
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
			t.path.print(t.prefix())
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// record is the record of a line, if it holds one. Whoever kept the log may have put something before each line, as
// journald, Docker Compose and container runtimes do, or have wrapped it in JSON, as Docker does in its files. A log that
// was truncated while it was written to begins with zero bytes.
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
		t.taken++
	case Delivered:
		t.delivered++
	case Dropped:
		t.dropped += r.readings()
	}
}

// prefix is how wide the devices' names are, or 0 when there is only one.
func (t *tracer) prefix() int {
	width := 0
	for device := range t.devices {
		width = max(width, utf8.RuneCountInString(device))
	}
	if len(t.devices) < 2 {
		return 0
	}
	return width
}

// moved follows the outage that the device may be in.
func (d *traced) moved(r Record) {
	d.last = r.Time
	switch phase := phaseOf(r); {
	case phase == Connected:
		d.lost = time.Time{}
	case phase == Disconnected && d.lost.IsZero():
		d.lost = r.Time
	}
}

// phaseOf returns the phase of a transition, also in logs of versions that did not write it. In these, a transition that
// names a hub and no attempt ends a session, or the attempt to begin one: with a cause if the hub was lost or could not
// be reached, without one if it was reached. Only a device that was closed during such an attempt counts as connected,
// so its outage is missing in the summary.
func phaseOf(r Record) Phase {
	switch {
	case r.Phase != "" || r.Hub == "" || r.Attempt > 0:
		return r.Phase
	case r.Cause != "":
		return Disconnected
	}
	return Connected
}
