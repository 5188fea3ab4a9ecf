package observe

import (
	"cmp"
	"slices"
)

const (
	maxMet    = 256 // sorts of records that Thin remembers of one device: more causes than that are no repetition
	firstLeft = 4   // of one sort that it leaves out before it says so; then twice as many, and so on
)

// Thin hands records on but thins out a long outage. Transitions, waits and warnings that say the same
// as before are passed three times and then left out. When 4, then 8, 16, … of one sort were left out,
// the last of each sort is passed, with the number of those it stands for; so it is before anything
// else that is passed of these kinds. Thus the order stays and the numbers add up. Thin starts afresh
// in phase Connected, and passes everything from phase Closing on: no later record would say what
// was left out. What it returns is not safe for concurrent use.
func Thin(next func(Record)) func(Record) {
	devices := map[string]*thinner{}
	return func(r Record) {
		if r.Kind != Transition && r.Kind != Waiting && r.Kind != Warning {
			next(r)
			return
		}
		t := devices[r.Device]
		if t == nil {
			t = &thinner{next: next}
			t.restart()
			devices[r.Device] = t
		}
		t.hear(r)
	}
}

// A thinner is what Thin remembers of one device.
type thinner struct {
	next  func(Record)
	met   map[Record]*repetition // by what does not differ between repetitions
	limit int                    // of repetition.left
	ends  bool                   // the device is in phase Closing
	out   int                    // how many were left out, ever
}

type repetition struct {
	times int    // passed at once
	left  int    // out, since one was passed, and what those stood for
	last  Record // that was left out
	at    int    // its place among all
}

func (t *thinner) restart() {
	t.passLeft()
	t.met, t.limit = map[Record]*repetition{}, firstLeft
}

func (t *thinner) hear(r Record) {
	if r.Kind == Transition {
		t.ends = r.Phase == Closing
	}
	if r.Phase == Connected || r.Phase == Closing {
		t.restart()
	}
	if t.ends {
		t.next(r)
		return
	}
	key := Record{Kind: r.Kind, From: r.From, To: r.To, State: r.State, Event: r.Event, Cause: r.Cause, Hub: r.Hub}
	if r.Kind == Warning {
		key.Message, key.Error = r.Message, r.Error
	}
	s := t.met[key]
	if s == nil {
		if len(t.met) == maxMet {
			t.restart()
		}
		s = &repetition{}
		t.met[key] = s
	}
	if s.times < 3 {
		s.times++
		t.passLeft()
		t.next(r)
		return
	}
	t.out++
	s.left, s.last, s.at = s.left+1+r.Repeated, r, t.out
	if s.left >= t.limit {
		t.limit *= 2
		t.passLeft()
	}
}

// passLeft passes the last of each sort that was left out, in their order.
func (t *thinner) passLeft() {
	var sorts []*repetition
	for _, s := range t.met {
		if s.left > 0 {
			sorts = append(sorts, s)
		}
	}
	slices.SortFunc(sorts, func(a, b *repetition) int { return cmp.Compare(a.at, b.at) })
	for _, s := range sorts {
		s.last.Repeated, s.left = s.left-1, 0
		t.next(s.last)
	}
}
