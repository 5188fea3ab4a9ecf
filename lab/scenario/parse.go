package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of a scenario.
const (
	longestText = 256 << 10 // bytes
	longestRun  = 7 * 24 * time.Hour
	mostSteps   = 10_000
)

// Parse parses the text of a scenario. name becomes the name of the scenario, also in errors.
func Parse(name, text string) (Scenario, error) {
	s := Scenario{Name: name}
	if err := s.read(text); err != nil {
		return Scenario{}, fmt.Errorf("scenario: %s: %w", name, err)
	}
	s.steps = s.timeline()
	return s, nil
}

func (s *Scenario) read(text string) error {
	if len(text) > longestText {
		return fmt.Errorf("the text has more than %d bytes", longestText)
	}
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	s.Sentence = sentence(lines)
	endLine := 0
	for i, line := range lines {
		err := checkText(line)
		var statements [][]word
		if err == nil {
			statements, err = words(line)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		for _, words := range statements {
			p := phrase{line: i + 1, words: words}
			if s.statement(&p); p.err != nil {
				return p.err
			}
			if s.End > 0 && endLine == 0 {
				endLine = i + 1
			}
		}
	}
	slices.SortFunc(s.Expectations, inOrder)
	return s.check(endLine)
}

// sentence returns the text of the comments at the beginning.
func sentence(lines []string) string {
	var words []string
	for _, line := range lines {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !ok {
			break
		}
		words = append(words, strings.Fields(comment)...)
	}
	return strings.Join(words, " ")
}

func checkText(line string) error {
	if !utf8.ValidString(line) {
		return errors.New("the line is not UTF-8")
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }); i >= 0 {
		return fmt.Errorf("there is a control character after %.60q: remove it", line[:i])
	}
	return nil
}

// statement reads one statement, which may be empty.
func (s *Scenario) statement(p *phrase) {
	if len(p.words) == 0 {
		return
	}
	st := statement{line: p.line, when: p.oneOf("at", "every", "random", "expect", "end")}
	switch st.when {
	case "at":
		st.at = p.time()
		st.act = p.act()
	case "every":
		st.every = p.duration()
		st.from = st.every
		if p.accept("from") {
			st.from = p.time()
		}
		if p.accept("to") {
			if st.to = p.duration(); p.err == nil && st.to < st.from {
				p.fail("it never happens: the first time would be %s, after the last time %s",
					formatDuration(st.from), formatDuration(st.to))
			}
		}
		st.act = p.act()
	case "random":
		p.random(&st)
	case "expect":
		s.expect(p)
	case "end":
		if s.End > 0 {
			p.fail("a second end: the scenario already ends at %s", formatDuration(s.End))
		}
		s.End = p.duration()
	}
	p.requireEnd()
	if p.err == nil && st.when != "expect" && st.when != "end" {
		s.statements = append(s.statements, st)
	}
}

// random reads `[seed=N] attacks from TIME to TIME [every about DURATION]`.
func (p *phrase) random(st *statement) {
	st.seed, st.every = 1, 30*time.Second
	if w := p.peek(); w.name == "seed" {
		st.seed = p.seed()
	}
	if !p.accept("attacks") {
		p.refuse("attacks", "seed=7")
	}
	p.require("from")
	st.from = p.time()
	p.require("to")
	st.to = p.duration()
	if p.accept("every") {
		p.require("about")
		if st.every = p.duration(); p.err == nil && st.every < shortestAttack {
			p.fail("attacks every about %s are too frequent: give %s or more",
				formatDuration(st.every), shortestAttack)
		}
	}
	if p.err == nil && st.to-st.from < shortestAttack {
		p.fail("there is no time for an attack between %s and %s: leave %s or more",
			formatDuration(st.from), formatDuration(st.to), shortestAttack)
	}
}

func (s *Scenario) expect(p *phrase) {
	var measures []string
	for _, m := range Measures() {
		measures = append(measures, string(m))
	}
	e := Expectation{Measure: Measure(p.oneOf(measures...))}
	if _, isRepeated := s.Expects(e.Measure); isRepeated {
		p.fail("there is already an expectation for %s", e.Measure)
	}
	if e.Measure == Recovery {
		e.Within = p.duration()
	} else {
		e.Most = p.number()
	}
	s.Expectations = append(s.Expectations, e)
}

// check checks the statements together. endLine is the line of the end statement.
func (s *Scenario) check(endLine int) error {
	if s.End == 0 {
		return errors.New("the end is missing: add a line such as end 5m")
	}
	steps, last := 0, time.Duration(0)
	for _, st := range s.statements {
		count, until := st.stepsAndEnd(s.End)
		if latest := max(until, st.to); st.at >= s.End || st.from >= s.End || latest > s.End {
			return fmt.Errorf("line %d: it lasts until %s, but the scenario ends at %s",
				st.line, formatDuration(max(latest, st.at, st.from)), formatDuration(s.End))
		}
		if steps += count; steps > mostSteps {
			return fmt.Errorf("line %d: the scenario has more than %d steps", st.line, mostSteps)
		}
		last = max(last, until)
	}
	if e, ok := s.Expects(Recovery); ok && last+e.Within > s.End {
		return fmt.Errorf("line %d: the last fault ends at %s, and a recovery may take %s after that: "+
			"end at %s or later",
			endLine, formatDuration(last), formatDuration(e.Within), formatDuration(last+e.Within))
	}
	return nil
}

// stepsAndEnd returns an upper bound of the steps of a statement, and the time at which its last
// change of the cloud ends.
func (st statement) stepsAndEnd(end time.Duration) (steps int, until time.Duration) {
	last := st.at
	steps = 2 // a fault and its end
	switch st.when {
	case "every":
		to := st.to
		if to == 0 {
			to = end - 1
		}
		if to < st.from {
			return 0, to
		}
		n := (to - st.from) / st.every
		steps, last = 2*int(min(n, mostSteps)+1), st.from+n*st.every
	case "random":
		return 4 * int(min((st.to-st.from)/(st.every/2)+1, mostSteps)), st.to
	}
	if !st.act.Verb.changesCloud() {
		return steps, 0
	}
	return steps, last + st.act.Params.For
}
