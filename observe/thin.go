package observe

import (
	"cmp"
	"maps"
	"slices"
)

const (
	maxSorts     = 256 // sorts of records that Thin remembers of one device; more different causes are no repetition
	passedAtOnce = 3   // records of one sort
	firstLimit   = 4   // records of one sort that are left out before one is passed again; each time the limit doubles
)

// Thin returns an observer that passes records on, and leaves out most of a long outage. Of
// transitions, waits and warnings with the same content it passes three, and leaves out later ones.
// When 4, then 8, 16, … of one sort were left out, it passes the last record of each sort, with the
// number of the others in Repeated. It also does so before it passes a record of another sort, so
// the order stays and the numbers add up. Thin starts afresh in phase Connected. From phase Closing
// on it passes everything, because no later record would have the numbers. The observer is not safe
// for concurrent use.
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
		t.add(r)
	}
}

// A thinner is the state of Thin for one device.
type thinner struct {
	next    func(Record)
	sorts   map[Record]*sortState // by the fields that repetitions have in common
	limit   int                   // of sortState.left
	closing bool
	out     int // records that were left out, ever
}

type sortState struct {
	passed int    // before the first was left out
	left   int    // out since one was passed, with what those stood for
	last   Record // that was left out
	order  int    // of last among all that were left out
}

func (t *thinner) restart() {
	t.passLeft()
	t.sorts, t.limit = map[Record]*sortState{}, firstLimit
}

func (t *thinner) add(r Record) {
	if r.Kind == Transition {
		t.closing = r.Phase == Closing
	}
	if r.Phase == Connected || r.Phase == Closing {
		t.restart()
	}
	if t.closing {
		t.next(r)
		return
	}
	key := Record{Kind: r.Kind, From: r.From, To: r.To, State: r.State, Event: r.Event, Cause: r.Cause, Hub: r.Hub}
	if r.Kind == Warning {
		key.Message, key.Error = r.Message, r.Error
	}
	s := t.sorts[key]
	if s == nil {
		if len(t.sorts) == maxSorts {
			t.restart()
		}
		s = &sortState{}
		t.sorts[key] = s
	}
	if s.passed < passedAtOnce {
		s.passed++
		t.passLeft()
		t.next(r)
		return
	}
	t.out++
	s.left, s.last, s.order = s.left+1+r.Repeated, r, t.out
	if s.left >= t.limit {
		t.limit *= 2
		t.passLeft()
	}
}

// passLeft passes the last record of each sort that was left out, in their order.
func (t *thinner) passLeft() {
	left := slices.DeleteFunc(slices.Collect(maps.Values(t.sorts)), func(s *sortState) bool { return s.left == 0 })
	slices.SortFunc(left, func(a, b *sortState) int { return cmp.Compare(a.order, b.order) })
	for _, s := range left {
		s.last.Repeated, s.left = s.left-1, 0
		t.next(s.last)
	}
}
