// Package ledger compares the readings that a device accepted with the messages that its hubs
// received. Both inputs may be damaged or wrong.
package ledger

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"giantlizard.example/failover/outbox"
)

// A Receipt is one message that a hub received. Receipts are in the order of arrival.
type Receipt struct {
	MessageID string
	Lane      string // value of the property failover-lane; "" means a live reading
}

// A Report counts the readings of one outbox. Accepted = Delivered + Pending + Missing, and Missing
// = Dropped + Quarantined + Lost. A reading that is both delivered and pending counts as delivered.
type Report struct {
	Accepted    uint64            `json:"taken"`
	Delivered   uint64            `json:"delivered"`
	Pending     uint64            `json:"waiting"`
	Missing     uint64            `json:"missing"`
	Dropped     map[string]uint64 `json:"dropped"` // number of dropped readings for each reason
	Quarantined uint64            `json:"quarantined"`
	Lost        uint64            `json:"lost"`
	// LostIDs are the IDs of lost readings, at most 1,000 ranges such as "8f3a1c02-17-20".
	LostIDs    []string `json:"lostIds"`
	Duplicates uint64   `json:"duplicates"`
	OutOfOrder uint64   `json:"outOfOrder"` // readings that arrived after a newer reading of the same lane
	Foreign    uint64   `json:"foreign"`    // messages of other devices or epochs
	Unreadable uint64   `json:"unreadable"` // damaged lines of the receipts; Compare leaves this field 0
}

const maxLostIDs = 1000

// Compare compares the snapshot of an outbox with the messages that hubs received. It compares only
// readings of the outbox's current epoch; every other message counts as foreign.
func Compare(s *outbox.Snapshot, received iter.Seq[Receipt]) Report {
	r := Report{Accepted: s.Last, Dropped: map[string]uint64{}, LostIDs: []string{}}
	known := numbers{}
	newest := map[string]uint64{} // highest number that has arrived in each lane
	for m := range received {
		n, ours := number(m.MessageID, s)
		switch {
		case !ours:
			r.Foreign++
		case !known.add(n):
			r.Duplicates++
		default:
			r.Delivered++
			if n < newest[m.Lane] {
				r.OutOfOrder++
			}
			newest[m.Lane] = max(newest[m.Lane], n)
		}
	}
	for n := range s.Numbers() {
		if known.add(n) {
			r.Pending++
		}
	}
	lost := r.explain(gaps(known, s.Last), s.Dropped)
	lost = r.explainForgotten(lost, s.Forgotten)
	r.Missing = r.Accepted - r.Delivered - r.Pending
	for _, l := range lost[:min(len(lost), maxLostIDs)] {
		r.LostIDs = append(r.LostIDs, fmt.Sprintf("%s-%s", s.Epoch, l))
	}
	return r
}

// numbers is a set of reading numbers, stored as a bitmap in words of 64 bits, because there may be
// millions of numbers and most of them are consecutive.
type numbers map[uint64]uint64

// add adds a number to the set, and reports whether the number is new.
func (s numbers) add(n uint64) bool {
	word, bit := s[n/64], uint64(1)<<(n%64)
	s[n/64] = word | bit
	return word&bit == 0
}

// sorted returns the numbers in ascending order.
func (s numbers) sorted() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, at := range slices.Sorted(maps.Keys(s)) {
			for word := s[at]; word != 0; word &= word - 1 {
				if !yield(at*64 + uint64(bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

// gaps returns the ranges of numbers from 1 to last that are not in known. It does not loop over
// the numbers one by one, because last may be huge in a damaged file.
func gaps(known numbers, last uint64) (all []outbox.Range) {
	before := uint64(0)
	for n := range known.sorted() {
		if n-before > 1 {
			all = append(all, outbox.Range{First: before + 1, Last: n - 1})
		}
		before = n
	}
	if before < last {
		all = append(all, outbox.Range{First: before + 1, Last: last})
	}
	return all
}

// explain counts the missing readings that were dropped or quarantined. It counts the other missing
// readings as lost, and returns their ranges.
func (r *Report) explain(missing []outbox.Range, dropped []outbox.Drop) (lost []outbox.Range) {
	dropped = slices.SortedFunc(slices.Values(dropped), func(a, b outbox.Drop) int {
		return cmp.Compare(a.Numbers.First, b.Numbers.First)
	})
	for _, m := range missing {
		for len(dropped) > 0 && dropped[0].Numbers.Last < m.First {
			dropped = dropped[1:]
		}
		done := m.First - 1 // last number that was counted; the next number could overflow a uint64
		lose := func(last uint64) {
			if done < last {
				lost = append(lost, outbox.Range{First: done + 1, Last: last})
				r.Lost += last - done
			}
		}
		for i := 0; i < len(dropped) && dropped[i].Numbers.First <= m.Last && done < m.Last; i++ {
			from, to := max(dropped[i].Numbers.First, done+1), min(dropped[i].Numbers.Last, m.Last)
			if from <= to {
				lose(from - 1)
				r.count(dropped[i].Reason(), to-from+1)
				done = to
			}
		}
		lose(m.Last)
	}
	return lost
}

// explainForgotten counts the dropped readings for which the outbox remembers only how many they
// were and their highest number. It removes as many readings from lost and returns the remaining
// ranges. If any remain, nobody knows which of the readings were lost, so the returned numbers are
// a guess.
func (r *Report) explainForgotten(lost []outbox.Range, forgotten []outbox.Forgotten) []outbox.Range {
	forgotten = slices.SortedFunc(slices.Values(forgotten), func(a, b outbox.Forgotten) int {
		return cmp.Compare(a.Highest, b.Highest)
	})
	for _, f := range forgotten {
		for i := range lost {
			if lost[i].First > f.Highest {
				break
			}
			n := min(f.Count, min(lost[i].Last, f.Highest)-lost[i].First+1)
			lost[i].First += n
			f.Count -= n
			r.Lost -= n
			r.count(f.Why, n)
		}
		lost = slices.DeleteFunc(lost, func(x outbox.Range) bool { return x.First > x.Last })
	}
	return lost
}

func (r *Report) count(why outbox.Reason, n uint64) {
	switch {
	case n == 0:
	case why == outbox.Quarantined:
		r.Quarantined += n
	default:
		r.Dropped[string(why)] += n
	}
}

// number returns the reading number in a message ID, and reports whether the outbox has given out
// this number in its current epoch.
func number(messageID string, s *outbox.Snapshot) (n uint64, ok bool) {
	digits, ok := strings.CutPrefix(messageID, s.Epoch+"-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && n > 0 && n <= s.Last && strconv.FormatUint(n, 10) == digits
}

// Reasons returns the keys of Dropped in alphabetical order.
func (r Report) Reasons() []string { return slices.Sorted(maps.Keys(r.Dropped)) }
