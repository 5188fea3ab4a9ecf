package observe

import (
	"fmt"
	"time"
)

// A tally counts the outages with the same outcome, and keeps the shortest and the longest
// duration.
type tally struct {
	count       int
	least, most time.Duration
}

func (t *tally) add(d time.Duration) {
	if t.count == 0 {
		t.least, t.most = d, d
	}
	t.count, t.least, t.most = t.count+1, min(t.least, d), max(t.most, d)
}

// text returns a phrase such as "2 reconnected in 9 ms to 1.2 s".
func (t *tally) text(how string) string {
	if t.count == 0 {
		return ""
	}
	times := Span(t.least)
	if most := Span(t.most); most != times {
		times += " to " + most
	}
	return fmt.Sprintf("%d %s %s", t.count, how, times)
}

// summary returns one line about what Trace has read.
func (t *tracer) summary() string {
	var open tally
	for _, d := range t.devices {
		if !d.lost.IsZero() {
			open.add(d.last.Sub(d.lost))
		}
	}
	outages, ended := open.count, ""
	for _, outcome := range outcomes {
		o := t.ended[outcome]
		outages += o.count
		ended = joined(", ", ended, o.text(outcome+" in"))
	}
	ended = joined(", ", ended, open.text("not over after"))
	path := joined(", ", plural(len(t.devices), "device"), plural(t.transitions, "transition"),
		plural(outages, "outage"))
	return joined("; ", joined(": ", path, ended), t.readings(), some(t.warnings, "warning"),
		some(t.other, "other line"))
}

// readings returns a phrase with the numbers of readings. Only a log with debug lines names the
// accepted and delivered ones.
func (t *tracer) readings() string {
	switch {
	case t.accepted+t.delivered > 0:
		return fmt.Sprintf("readings: %d taken, %d delivered, %d dropped", t.accepted, t.delivered, t.dropped)
	case t.dropped > 0:
		return fmt.Sprintf("readings: %d dropped", t.dropped)
	}
	return ""
}

func some(n int, one string) string {
	if n == 0 {
		return ""
	}
	return plural(n, one)
}
