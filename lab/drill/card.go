package drill

import (
	"fmt"
	"math"
	"strings"
	"time"

	"giantlizard.example/failover/lab/scenario"
)

// A Row is one line of a report card.
type Row struct {
	What     string   `json:"what"`
	Unit     string   `json:"unit,omitempty"` // "s", "MiB", or nothing for a count
	Measured float64  `json:"measured"`
	Limit    *float64 `json:"limit"` // the most that is allowed; null: only measured
	Note     string   `json:"note,omitempty"`
}

// Missed tells whether the limit was passed.
func (r Row) Missed() bool { return r.Limit != nil && r.Measured > *r.Limit }

// A Card is how a client did in one scenario.
type Card struct {
	Scenario string   `json:"scenario"`
	About    string   `json:"about"`
	Seconds  float64  `json:"seconds"` // that the scenario took
	Readings int      `json:"readings"`
	Rows     []Row    `json:"rows"`
	Outages  []Outage `json:"outages"`
	Breaches []string `json:"violations,omitempty"`
	Timeline Timeline `json:"timeline"`
}

// Missed are the rows whose limit was passed.
func (c *Card) Missed() (missed []Row) {
	for _, r := range c.Rows {
		if r.Missed() {
			missed = append(missed, r)
		}
	}
	return missed
}

// Judge grades a client by what was seen of it.
func Judge(s scenario.Scenario, e *Evidence) *Card {
	e = e.withoutWills()
	outages, tally := e.outages(), e.count()
	c := &Card{
		Scenario: s.Name, About: s.Sentence, Seconds: round(e.End.Sub(e.Start).Seconds()), Readings: tally.Delivered + tally.Unnumbered,
		Outages: outages, Breaches: e.Breaches, Timeline: e.timeline(outages),
	}
	row := func(what, unit string, measured float64, limit *float64, note string) {
		c.Rows = append(c.Rows, Row{what, unit, round(measured), limit, note})
	}
	expected := func(m scenario.Measure) *float64 {
		x, ok := s.Expects(m)
		return either(ok, new(x.Within.Seconds()+float64(x.Most))) // one of them is 0
	}
	count := func(what string, n int, m scenario.Measure, note string) {
		row(what, "", float64(n), expected(m), note)
	}
	worst, note := slowest(outages)
	row("slowest recovery", "s", worst.Seconds(), expected(scenario.Recovery), note)
	count("readings missing", tally.Missing, scenario.Missing, e.howMissed(tally))
	count("readings delivered twice", tally.Duplicates, scenario.Duplicates, "")
	count("readings out of order", tally.OutOfOrder, scenario.OutOfOrder, "")
	count("desired properties not acknowledged", len(e.Unacknowledged), scenario.DesiredUnacknowledged, strings.Join(e.Unacknowledged, ", "))
	count("methods not answered", e.unanswered(scenario.Method), scenario.MethodsUnanswered, "")
	count("commands not completed", e.unanswered(scenario.Command), scenario.CommandsUnanswered, "")
	count("attempts to connect in a minute", busiest(e.Attempts, time.Minute), scenario.AttemptsAMinute, "")
	row("broken rules of the wire", "", float64(len(e.Breaches)), new(0.0), first(e.Breaches))
	row("died", "", either(e.Process.Died != "", 1.0), new(0.0), e.Process.Died)
	if e.Process.CPU > 0 {
		row("CPU time in a minute", "s", e.Process.CPU.Seconds()/e.Process.Elapsed.Minutes(), nil, "")
	}
	if e.Process.Memory > 0 {
		row("memory at most", "MiB", float64(e.Process.Memory)/(1<<20), nil, "")
	}
	return c
}

// howMissed says it where it is not by the numbers alone.
func (e *Evidence) howMissed(t Tally) string {
	switch {
	case t.ByPeriod:
		return fmt.Sprintf("by the period of %s; the numbers show less", e.Interval)
	case t.Unnumbered > 0: // a slip in the field's name must not look like a client that loses nothing
		return fmt.Sprintf("%d readings have no number, and were counted by the period of %s", t.Unnumbered, e.Interval)
	}
	return ""
}

// unanswered counts the calls without an answer, whyever.
func (e *Evidence) unanswered(verb scenario.Verb) (n int) {
	for _, c := range e.Calls {
		if c.Verb == verb && c.Err != nil {
			n++
		}
	}
	return n
}

func slowest(outages []Outage) (worst time.Duration, note string) {
	for _, o := range outages {
		if o.lasted() >= worst {
			worst, note = o.lasted(), "after "+o.After+either(o.Endless, "; it never recovered")
		}
	}
	return worst, note
}

func round(f float64) float64 { return math.Round(f*1000) / 1000 }

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// either is v, or nothing.
func either[T any](ok bool, v T) (nothing T) {
	if ok {
		return v
	}
	return nothing
}
