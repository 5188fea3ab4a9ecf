package observe_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"giantlizard.example/failover/observe"
)

// A pair of an original and its thinned copy.
type thinned struct{ in, out []observe.Record }

func (p *thinned) tell() func(observe.Record) {
	thin := observe.Thin(func(r observe.Record) { p.out = append(p.out, r) })
	return func(r observe.Record) {
		p.in = append(p.in, r)
		thin(r)
	}
}

// what returns the fields that repetitions of a record have in common.
func what(r observe.Record) string {
	return fmt.Sprint(r.Kind, r.Device, r.From, r.To, r.State, r.Event, r.Cause, r.Hub, r.Outcome, r.ID)
}

// addUp checks that each record which went in came out, or is counted by one that did.
func (p *thinned) addUp(t *testing.T) {
	t.Helper()
	counts := map[string]int{}
	for _, r := range p.in {
		counts[what(r)]++
	}
	for _, r := range p.out {
		counts[what(r)] -= 1 + r.Repeated
	}
	for r, n := range counts {
		if n != 0 {
			t.Errorf("%d of %q are unaccounted for", n, r)
		}
	}
}

func (p *thinned) inOrder(t *testing.T) {
	t.Helper()
	if !slices.IsSortedFunc(p.out, func(a, b observe.Record) int { return a.Time.Compare(b.Time) }) {
		t.Error("what came out is not in the order of its times")
	}
}

// repeats is how often a transition to a state came out, and what each counts.
func (p *thinned) repeats(from, to string) (counts []int) {
	for _, r := range p.out {
		if r.From == from && r.To == to {
			counts = append(counts, r.Repeated)
		}
	}
	return counts
}

func TestDayLongOutageIsFewLinesThatAddUp(t *testing.T) {
	var p thinned
	s := newStory("lizard-1", p.tell())
	s.starts()
	s.move(time.Hour, "Connected", "lost", "Failover", hubA, "closed")
	for range 24 * 60 {
		s.fails("timed-out", "dps-unavailable")
	}
	s.move(time.Second, "Failover", "retry-hub", "Connecting", hubA, "")
	s.move(time.Second, "Connecting", "connected", "Connected", hubA, "")
	if len(p.in) < 8000 || len(p.out) > 100 {
		t.Errorf("%d of %d records came out", len(p.out), len(p.in))
	}
	counts := p.repeats("Connecting", "Failover")
	if growing := counts[:len(counts)-1]; !slices.IsSorted(growing) || counts[2] != 0 || growing[len(growing)-1] < 500 {
		t.Errorf("the failures count %v, want ever more", counts)
	}
	p.addUp(t)
	p.inOrder(t)
}

func TestLastRecordsBeforeTheEndArePassed(t *testing.T) {
	var p thinned
	s := newStory("lizard-1", p.tell())
	for range 100 {
		s.fails("timed-out", "dps-unavailable")
	}
	s.move(0, "Failover", "close", "Closing", "", "")
	tail, whole := p.out[len(p.out)-7:], p.in[len(p.in)-7:]
	for i := range tail {
		if tail[i].Time != whole[i].Time || what(tail[i]) != what(whole[i]) {
			t.Errorf("it ends with %q, want %q", tail[i].Message, whole[i].Message)
		}
	}
	p.addUp(t)
}

func TestEveryCauseIsPassed(t *testing.T) {
	var p thinned
	s := newStory("lizard-1", p.tell())
	for range 100 {
		s.fails("timed-out", "dps-unavailable")
	}
	for i := range 1000 { // far more than are remembered
		s.fails(fmt.Sprint("cause ", i), "dps-unavailable")
	}
	for range 100 {
		s.fails("timed-out", "dps-refused")
	}
	s.move(0, "Failover", "close", "Closing", "", "")
	causes := map[string]bool{}
	for _, r := range p.out {
		causes[r.Cause] = true
	}
	for _, r := range p.in {
		if !causes[r.Cause] {
			t.Fatalf("no line says %q", r.Cause)
		}
	}
	p.addUp(t)
	p.inOrder(t)
}

func TestThinStartsAfreshWhenConnected(t *testing.T) {
	var p thinned
	s := newStory("lizard-1", p.tell())
	for range 3 {
		for range 6 {
			s.fails("timed-out", "dps-unavailable")
		}
		s.starts()
	}
	want := []int{0, 0, 0, 2}
	if got := p.repeats("Connecting", "Failover"); !slices.Equal(got, slices.Repeat(want, 3)) {
		t.Errorf("the failures count %v, want three times %v", got, want)
	}
	p.addUp(t)
}

func TestEveryConnectionAndEveryOutcomeIsPassed(t *testing.T) {
	var p thinned
	s := newStory("lizard-1", p.tell())
	s.starts()
	for range 100 {
		s.blinks(time.Minute)
	}
	if len(p.out) != len(p.in) {
		t.Errorf("%d of %d records came out", len(p.out), len(p.in))
	}
}

func TestOtherKindsAreNotThinned(t *testing.T) {
	var p thinned
	s := newStory("lizard-1", p.tell())
	for range 100 {
		for _, kind := range []observe.Kind{observe.Accepted, observe.Delivered, observe.Dropped, observe.IllegalEvent,
			observe.Handled, observe.Note,
			observe.Payload, observe.Clock} {
			s.say(0, observe.Record{Kind: kind})
		}
	}
	if !slices.Equal(p.out, p.in) {
		t.Errorf("%d of %d records came out", len(p.out), len(p.in))
	}
}

func TestEqualWarningsAreThinned(t *testing.T) {
	var p thinned
	s := newStory("lizard-1", p.tell())
	for range 13 {
		s.say(time.Second, observe.Record{Kind: observe.Warning, Message: "a twin request failed", Error: "no answer"})
	}
	s.say(time.Second, observe.Record{Kind: observe.Warning, Message: "a twin request failed", Error: "status 500"})
	var got []string
	for _, r := range p.out {
		got = append(got, fmt.Sprint(r.Error, " ", r.Repeated))
	}
	want := []string{"no answer 0", "no answer 0", "no answer 0", "no answer 3", "no answer 5", "status 500 0"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestThinAddsUpRepeatedRecords(t *testing.T) {
	var p thinned
	s := newStory("lizard-1", p.tell())
	stand := 0
	for i := range 100 {
		s.say(time.Second, observe.Record{Kind: observe.Warning, Error: "no answer", Repeated: i})
		stand += 1 + i
	}
	s.starts()
	for _, r := range p.out {
		if r.Kind == observe.Warning {
			stand -= 1 + r.Repeated
		}
	}
	if stand != 0 {
		t.Errorf("%d are unaccounted for", stand)
	}
}

// Nothing comes after the end that could say how many were left out.
func TestNothingIsLeftOutAfterClosing(t *testing.T) {
	var p thinned
	s := newStory("lizard-1", p.tell())
	s.starts()
	s.move(time.Second, "Connected", "close", "Closing", "", "")
	for range 10 {
		s.say(0, observe.Record{Kind: observe.Warning, Error: "no answer"})
	}
	p.addUp(t)
}

func TestDevicesAreThinnedSeparately(t *testing.T) {
	var p thinned
	tell := p.tell()
	a, b := newStory("lizard-1", tell), newStory("lizard-2", tell)
	for range 50 {
		a.fails("timed-out", "dps-unavailable")
		b.fails("timed-out", "dps-unavailable")
		b.starts() // is no news of the other
	}
	a.starts()
	p.addUp(t)
	count := map[string]int{}
	for _, r := range p.out {
		count[r.Device]++
	}
	if count["lizard-1"] > 70 || count["lizard-2"] != 50*9 {
		t.Errorf("%v", count)
	}
}
