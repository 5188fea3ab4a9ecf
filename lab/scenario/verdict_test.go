package scenario_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/scenario"
)

// A verdict is what a trial has measured, as docs/scenarios.md describes it.
type verdict struct {
	recovery         time.Duration // the longest
	counts           map[scenario.Measure]int
	taken, delivered int
	violations       []string
	story            string
}

// wantKept wants all readings delivered and each expectation met.
func (v verdict) wantKept(t *testing.T, s scenario.Scenario) {
	t.Helper()
	if v.taken != v.delivered || v.counts[scenario.Missing] > 0 || len(v.violations) > 0 {
		t.Errorf("%d readings were accepted and %d delivered; rules broken: %q", v.taken, v.delivered, v.violations)
	}
	for _, e := range s.Expectations {
		if e.Measure == scenario.Recovery && v.recovery > e.Within || v.counts[e.Measure] > e.Most {
			t.Errorf("expected %s: a recovery took %v, and counted are %v", e, v.recovery, v.counts)
		}
	}
}

// verdict measures what can be measured while the device runs.
func (w *trial) verdict(s scenario.Scenario) verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := verdict{counts: map[scenario.Measure]int{}, recovery: w.slowest(s.End)}
	_, reported, _, _ := w.cloud.Twin(deviceID)
	for name, value := range w.desired() {
		if !acknowledged(reported[name], value) {
			v.counts[scenario.DesiredUnacknowledged]++
		}
	}
	for _, h := range w.happenings {
		switch {
		case h.Answer == nil || h.Answer.Err == nil:
		case h.Verb == scenario.Method:
			v.counts[scenario.MethodsUnanswered]++
		default:
			v.counts[scenario.CommandsUnanswered]++
		}
	}
	return v
}

// slowest returns the longest time from an opening of the way to the next reading that was stored.
func (w *trial) slowest(end time.Duration) (slowest time.Duration) {
	for i, h := range w.happenings {
		if h.Way != scenario.Opens {
			continue
		}
		most, shut := end, false // it never came back
		if j := slices.IndexFunc(w.happenings[i:],
			func(h scenario.Event) bool { return h.Way == scenario.Shuts }); j >= 0 {
			most, shut = w.happenings[i+j].Since, true
		}
		for _, d := range w.cloud.Ledger() {
			if at := d.Received.Sub(w.begin); at > h.Since && at < most {
				most, shut = at, false
			}
		}
		if !shut {
			slowest = max(slowest, most-h.Since)
		}
	}
	return slowest
}

// desired returns the newest desired values.
func (w *trial) desired() map[string]any {
	newest := map[string]any{}
	for _, h := range w.happenings {
		if h.Verb == scenario.Desired {
			_ = json.Unmarshal([]byte(h.Payload), &newest)
		}
	}
	return newest
}

func acknowledged(property, value any) bool {
	ack, _ := property.(map[string]any)
	return ack["ac"] != nil && ack["av"] != nil && reflect.DeepEqual(ack["value"], value)
}

// count compares the accepted readings with those that were delivered, and measures what only the
// end shows.
func (w *trial) count(v *verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	got, newest := map[string]bool{}, 0
	for _, d := range w.cloud.Ledger() {
		_, number, _ := strings.Cut(d.MessageID, "-")
		n, _ := strconv.Atoi(number)
		switch {
		case got[d.MessageID]:
			v.counts[scenario.Duplicates]++
		case n < newest:
			v.counts[scenario.OutOfOrder]++
		}
		got[d.MessageID], newest = true, max(newest, n)
	}
	for _, id := range w.taken {
		if !got[id] {
			v.counts[scenario.Missing]++
		}
	}
	for i, from := range w.dials {
		n := 0
		for n < len(w.dials)-i && w.dials[i+n].Sub(from) < time.Minute {
			n++
		}
		if !from.Before(w.begin) {
			v.counts[scenario.AttemptsAMinute] = max(v.counts[scenario.AttemptsAMinute], n)
		}
	}
	v.taken, v.delivered, v.violations = len(w.taken), len(got), w.cloud.Violations()
}

// worst has the worst values of several verdicts.
type worst struct {
	recoveries []time.Duration
	counts     map[scenario.Measure]int
}

func (m *worst) add(v verdict) {
	m.recoveries = append(m.recoveries, v.recovery)
	for measure, n := range v.counts {
		if m.counts == nil {
			m.counts = map[scenario.Measure]int{}
		}
		m.counts[measure] = max(m.counts[measure], n)
	}
}

// String returns a row of docs/testing.md.
func (m worst) String() string {
	slices.Sort(m.recoveries)
	n := len(m.recoveries)
	row := ""
	for _, d := range []time.Duration{m.recoveries[n/2], m.recoveries[n*99/100], m.recoveries[n-1]} {
		row += fmt.Sprintf(" %.1f s |", d.Seconds())
	}
	for _, measure := range []scenario.Measure{scenario.Duplicates, scenario.OutOfOrder, scenario.AttemptsAMinute} {
		row += fmt.Sprintf(" %d |", m.counts[measure])
	}
	return row
}
