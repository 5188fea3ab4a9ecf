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
	Limit    *float64 `json:"limit"` // the maximum that is allowed; null if there is no limit
	Note     string   `json:"note,omitempty"`
}

// Missed reports whether the measured value exceeds the limit.
func (r Row) Missed() bool { return r.Limit != nil && r.Measured > *r.Limit }

// A Card is the report card of a client for one scenario.
type Card struct {
	Scenario string   `json:"scenario"`
	About    string   `json:"about"`
	Seconds  float64  `json:"seconds"` // the duration of the scenario
	Readings int      `json:"readings"`
	Rows     []Row    `json:"rows"`
	Outages  []Outage `json:"outages"`
	Breaches []string `json:"violations,omitempty"`
	Timeline Timeline `json:"timeline"`
}

// Missed returns the rows whose limit was missed.
func (c *Card) Missed() (missed []Row) {
	for _, r := range c.Rows {
		if r.Missed() {
			missed = append(missed, r)
		}
	}
	return missed
}

// Judge returns the report card of a client for a scenario, based on the evidence.
func Judge(s scenario.Scenario, e *Evidence) *Card {
	e = e.withoutWills()
	outages, tally := e.withParts(), e.count()
	c := &Card{
		Scenario: s.Name, About: s.Sentence, Seconds: round(e.End.Sub(e.Start).Seconds()),
		Readings: tally.Delivered + tally.Unnumbered,
		Outages:  outages, Breaches: e.Breaches, Timeline: e.timeline(outages),
	}
	row := func(what, unit string, measured float64, limit *float64, note string) {
		c.Rows = append(c.Rows, Row{what, unit, round(measured), limit, note})
	}
	expected := func(m scenario.Measure) *float64 {
		x, ok := s.Expects(m)
		return valueIf(ok, new(x.Within.Seconds()+float64(x.Most))) // the limit is Within or Most; the other one is 0
	}
	count := func(what string, n int, m scenario.Measure, note string) {
		row(what, "", float64(n), expected(m), note)
	}
	worst, note := slowest(outages)
	row("slowest recovery", "s", worst.Seconds(), expected(scenario.Recovery), note)
	count("readings missing", tally.Missing, scenario.Missing, e.missingNote(tally))
	count("readings delivered twice", tally.Duplicates, scenario.Duplicates, "")
	count("readings out of order", tally.OutOfOrder, scenario.OutOfOrder, "")
	count("desired properties not acknowledged", len(e.Unacknowledged), scenario.DesiredUnacknowledged,
		strings.Join(e.Unacknowledged, ", "))
	count("methods not answered", e.unanswered(scenario.Method), scenario.MethodsUnanswered, "")
	count("commands not completed", e.unanswered(scenario.Command), scenario.CommandsUnanswered, "")
	count("attempts to connect in a minute", busiest(e.Attempts, time.Minute), scenario.AttemptsAMinute, "")
	row("broken rules of the wire", "", float64(len(e.Breaches)), new(0.0), first(e.Breaches))
	row("died", "", valueIf(e.Process.Died != "", 1.0), new(0.0), e.Process.Died)
	if e.Process.CPU > 0 {
		row("CPU time in a minute", "s", e.Process.CPU.Seconds()/e.Process.Elapsed.Minutes(), nil, "")
	}
	if e.Process.Memory > 0 {
		row("memory at most", "MiB", float64(e.Process.Memory)/(1<<20), nil, "")
	}
	return c
}

// missingNote explains how the missing readings were counted. It is empty if they were counted by
// their numbers alone.
func (e *Evidence) missingNote(t Tally) string {
	switch {
	case t.ByPeriod:
		return fmt.Sprintf("counted by the interval of %s; the numbers show fewer", e.Interval)
	case t.Unnumbered > 0: // a wrong --number-field must not look like a client that loses nothing
		return fmt.Sprintf("%d readings have no number and were counted by the interval of %s", t.Unnumbered,
			e.Interval)
	}
	return ""
}

// unanswered counts the calls without an answer.
func (e *Evidence) unanswered(verb scenario.Verb) (n int) {
	for _, c := range e.Calls {
		if c.Verb == verb && c.Err != nil {
			n++
		}
	}
	return n
}

// slowest returns the duration of the longest outage, and a note about it.
func slowest(outages []Outage) (worst time.Duration, note string) {
	for _, o := range outages {
		if o.duration() >= worst {
			worst, note = o.duration(), "after "+o.After+valueIf(o.Endless, "; it never recovered")+
				strings.Join(append([]string{""}, o.Parts.Never...), "; ")
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

// valueIf returns v if ok is true, and otherwise the zero value.
func valueIf[T any](ok bool, v T) (nothing T) {
	if ok {
		return v
	}
	return nothing
}
