package observe

import (
	"cmp"
	"maps"
	"slices"
)

const (
	maxSorts     = 256 // largest number of sorts of records that Thin remembers for one device
	passedAtOnce = 3   // number of records of one sort that pass before Thin leaves out further ones
	firstLimit   = 4   // first number of left-out records of one sort after which Thin passes one; it doubles each time
)

// Thin returns an observer that passes records to next, and leaves out most records of a long
// outage. Transitions, waits and warnings with the same content are records of one sort. Thin
// passes the first three records of a sort, and leaves out later ones. When it has left out 4, then
// 8, 16, … records of one sort, it passes the last left-out record of each sort, with the number of
// the other left-out records in Repeated. It also does this before it passes a record of another
// sort, so the order stays and the numbers add up. Thin forgets all sorts in phase Connected. From
// phase Closing on it passes everything, because no later record could carry the numbers. The
// observer is not safe for concurrent use.
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
	sorts   map[Record]*sortState // the key is a Record with only the fields that all records of the sort share
	limit   int                   // value of sortState.left at which the left-out records are passed
	closing bool                  // whether the device is in phase Closing
	out     int                   // number of all records that were left out so far
}

type sortState struct {
	passed int    // number of records that were passed before the first one was left out
	left   int    // number of records left out since one was last passed, including their Repeated
	last   Record // latest record that was left out
	order  int    // position of last among all records that were left out
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

// passLeft passes, for each sort, the latest record that was left out, in the order in which these
// records came.
func (t *thinner) passLeft() {
	left := slices.DeleteFunc(slices.Collect(maps.Values(t.sorts)), func(s *sortState) bool { return s.left == 0 })
	slices.SortFunc(left, func(a, b *sortState) int { return cmp.Compare(a.order, b.order) })
	for _, s := range left {
		s.last.Repeated, s.left = s.left-1, 0
		t.next(s.last)
	}
}
