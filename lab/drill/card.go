package drill

import (
	"errors"
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
	Scenario string    `json:"scenario"`
	About    string    `json:"about"`
	Findings []string  `json:"findings,omitempty"` // what is wrong with a client that has failed, most important first
	Seconds  float64   `json:"seconds"`            // the duration of the scenario
	NotRun   float64   `json:"not_run,omitempty"`  // the seconds that were left when the client ended by itself
	Readings int       `json:"readings"`
	Rows     []Row     `json:"rows"`
	Outages  []Outage  `json:"outages"`
	Refusals []Refusal `json:"refusals,omitempty"`
	Breaches []string  `json:"violations,omitempty"` // each rule that was broken, once
	Output   []string  `json:"output,omitempty"`     // the last lines of the output of a client that has failed
	Timeline Timeline  `json:"timeline"`
}

// Failed reports whether the client missed a limit or delivered no reading.
func (c *Card) Failed() bool { return len(c.Missed()) > 0 || c.Readings == 0 }

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
		Outages:  outages, Refusals: e.refusals(time.Time{}, e.Stopped), Breaches: e.breaches(),
		Timeline: e.timeline(outages),
	}
	if !e.Ended.IsZero() {
		c.NotRun = round(max(0, s.End-e.End.Sub(e.Start)).Seconds())
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
	n, note := e.unanswered(scenario.Method)
	count("methods not answered", n, scenario.MethodsUnanswered, note)
	n, note = e.unanswered(scenario.Command)
	count("commands not completed", n, scenario.CommandsUnanswered, note)
	count("attempts to connect in a minute", busiest(e.Attempts, time.Minute), scenario.AttemptsAMinute, "")
	row("broken rules of the wire", "", float64(len(e.Breaches)), new(0.0), first(c.Breaches))
	row("died", "", valueIf(e.Process.Died != "", 1.0), new(0.0), valueIf(e.Process.Died != "", "it "+e.Process.Died))
	if e.Process.CPU > 0 {
		row("CPU time in a minute", "s", e.Process.CPU.Seconds()/e.Process.Elapsed.Minutes(), nil, "")
	}
	if e.Process.Memory > 0 {
		row("memory at most", "MiB", float64(e.Process.Memory)/(1<<20), nil, "")
	}
	if c.Failed() {
		c.Findings, c.Output = e.findings(s, c), e.Process.Output
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

// unanswered counts the calls without an answer. The note says how many of them were not sent.
func (e *Evidence) unanswered(verb scenario.Verb) (n int, note string) {
	unsent := 0
	for _, c := range e.Calls {
		if c.Verb == verb && c.Err != nil {
			n++
			unsent += valueIf(errors.Is(c.Err, errUnsent), 1)
		}
	}
	return n, valueIf(unsent > 0, fmt.Sprintf("%d of them after the client's end", unsent))
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
