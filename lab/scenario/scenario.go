// Package scenario runs timelines of faults that are written as text: which faults the cloud has,
// what the cloud asks of a device, and what is expected of the device. A scenario runs by the wall
// clock, or by the fake clock of a testing/synctest bubble. docs/scenarios.md describes the text.
package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Scenario is a parsed text. Parse returns one.
type Scenario struct {
	Name         string
	Sentence     string        // the comment at the beginning
	End          time.Duration // time of the end, since the beginning
	Expectations []Expectation // in the order of Measures

	statements []statement
	steps      []Step
}

// A statement is an at, every or random statement. Its times count from the beginning of the scenario.
type statement struct {
	line  int
	when  string        // at, every or random
	at    time.Duration // time of an at statement
	every time.Duration // interval of an every statement; average interval of a random statement
	from  time.Duration // beginning of an every or random statement
	to    time.Duration // end of an every or random statement; 0 means the end of the scenario
	seed  uint64        // seed of a random statement
	act   Act           // act of an at or every statement
}

// Steps returns everything that a run does, in order.
func (s Scenario) Steps() []Step { return slices.Clone(s.steps) }

// WithSeed returns the scenario with another seed for its random statements.
func (s Scenario) WithSeed(seed uint64) Scenario {
	s.statements = slices.Clone(s.statements)
	for i := range s.statements {
		s.statements[i].seed = seed
	}
	s.steps = s.timeline()
	return s
}

// String returns a text from which Parse makes the same scenario. The only comment in the text is the
// sentence.
func (s Scenario) String() string {
	var text strings.Builder
	if s.Sentence != "" {
		text.WriteString("# " + s.Sentence + "\n")
	}
	for _, st := range s.statements {
		text.WriteString(st.String() + "\n")
	}
	for _, e := range s.Expectations {
		text.WriteString("expect " + e.String() + "\n")
	}
	text.WriteString("end " + formatDuration(s.End) + "\n")
	return text.String()
}

func (st statement) String() string {
	switch st.when {
	case "at":
		return "at " + formatDuration(st.at) + " " + st.act.String()
	case "every":
		text := "every " + formatDuration(st.every) + " from " + formatDuration(st.from)
		if st.to > 0 {
			text += " to " + formatDuration(st.to)
		}
		return text + " " + st.act.String()
	}
	return fmt.Sprintf("random seed=%d attacks from %s to %s every about %s",
		st.seed, formatDuration(st.from), formatDuration(st.to), formatDuration(st.every))
}

// formatDuration formats a duration without zeros at its end: 1m, not 1m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if cut, ok := strings.CutSuffix(text, "m0s"); ok {
		text = cut + "m"
	}
	if cut, ok := strings.CutSuffix(text, "h0m"); ok {
		text = cut + "h"
	}
	return text
}

// A Measure is something that is counted to grade a device.
type Measure string

// The measures. docs/scenarios.md says how each is counted.
const (
	Recovery              Measure = "recovery"
	Missing               Measure = "missing"
	Duplicates            Measure = "duplicates"
	OutOfOrder            Measure = "out-of-order"
	MethodsUnanswered     Measure = "methods-unanswered"
	CommandsUnanswered    Measure = "commands-unanswered"
	DesiredUnacknowledged Measure = "desired-unacknowledged"
	AttemptsAMinute       Measure = "attempts-a-minute"
)

// Measures returns all measures.
func Measures() []Measure {
	return []Measure{
		Recovery, Missing, Duplicates, OutOfOrder, MethodsUnanswered, CommandsUnanswered, DesiredUnacknowledged,
		AttemptsAMinute,
	}
}

// An Expectation is the limit of a measure: a time for Recovery, a number for the others.
type Expectation struct {
	Measure Measure
	Within  time.Duration
	Most    int
}

func (e Expectation) String() string {
	if e.Measure == Recovery {
		return string(e.Measure) + " " + formatDuration(e.Within)
	}
	return string(e.Measure) + " " + strconv.Itoa(e.Most)
}

// Expects returns the expectation for a measure, and whether there is one.
func (s Scenario) Expects(m Measure) (Expectation, bool) {
	i := slices.IndexFunc(s.Expectations, func(e Expectation) bool { return e.Measure == m })
	if i < 0 {
		return Expectation{}, false
	}
	return s.Expectations[i], true
}

func inOrder(a, b Expectation) int {
	return cmp.Compare(slices.Index(Measures(), a.Measure), slices.Index(Measures(), b.Measure))
}
