// Package scenario is a timeline of bad days as text: what the giant lizard does to the cloud, what the cloud does to a device,
// and what is expected of the device. It runs by the wall clock or, unchanged, by the fake one of a testing/synctest bubble.
// docs/scenarios.md describes the text.
package scenario

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Scenario is what a text says. Parse makes one.
type Scenario struct {
	Name         string
	Sentence     string        // what it is about
	End          time.Duration // how long it takes
	Expectations []Expectation // in the order of Measures

	statements []statement
	steps      []Step
}

// A statement is one line that says what happens. Its times count from the scenario's beginning.
type statement struct {
	line  int
	when  string        // at, every or random
	at    time.Duration // of at
	every time.Duration // of every; of random: about
	from  time.Duration // of every and random, as is to
	to    time.Duration // 0 with every: the scenario's end
	seed  uint64        // of random
	act   Act           // of at and every
}

// Steps are all that a run does, one after another.
func (s Scenario) Steps() []Step { return slices.Clone(s.steps) }

// WithSeed is the same scenario with other luck. Without a `random` in it nothing changes.
func (s Scenario) WithSeed(seed uint64) Scenario {
	s.statements = slices.Clone(s.statements)
	for i := range s.statements {
		s.statements[i].seed = seed
	}
	s.steps = s.timeline()
	return s
}

// String is the text that Parse reads, without comments but for the sentence.
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
	text.WriteString("end " + short(s.End) + "\n")
	return text.String()
}

func (st statement) String() string {
	switch st.when {
	case "at":
		return "at " + short(st.at) + " " + st.act.String()
	case "every":
		text := "every " + short(st.every) + " from " + short(st.from)
		if st.to > 0 {
			text += " to " + short(st.to)
		}
		return text + " " + st.act.String()
	}
	return "random seed=" + strconv.FormatUint(st.seed, 10) + " attacks from " + short(st.from) + " to " + short(st.to) + " every about " + short(st.every)
}

// short is a duration without zeros at its end.
func short(d time.Duration) string {
	text := d.String()
	if cut, ok := strings.CutSuffix(text, "m0s"); ok {
		text = cut + "m"
	}
	if cut, ok := strings.CutSuffix(text, "h0m"); ok {
		text = cut + "h"
	}
	return text
}

// A Measure is something that a device can be better or worse at.
type Measure string

// What may be expected. docs/scenarios.md says how each is counted.
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

// Measures are all there are.
func Measures() []Measure {
	return []Measure{
		Recovery, Missing, Duplicates, OutOfOrder, MethodsUnanswered, CommandsUnanswered, DesiredUnacknowledged, AttemptsAMinute,
	}
}

// An Expectation is the most of something that a device may show: a time for Recovery, a number for the others.
type Expectation struct {
	Measure Measure
	Within  time.Duration
	Most    int
}

func (e Expectation) String() string {
	if e.Measure == Recovery {
		return string(e.Measure) + " " + short(e.Within)
	}
	return string(e.Measure) + " " + strconv.Itoa(e.Most)
}

// Expects is what the scenario expects of a measure, if it does.
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
