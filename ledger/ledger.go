// Package ledger compares what a device took with what its hubs received, for someone who trusts neither.
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

// A Receipt is one message that a hub received, in the order of arrival.
type Receipt struct {
	MessageID string
	Lane      string // the property failover-lane; "" for a live reading
}

// A Report is the result. Taken = Delivered + Waiting + Missing, each reading counted once, and Missing = Dropped +
// Quarantined + Lost.
type Report struct {
	Accepted    uint64            `json:"taken"`
	Delivered   uint64            `json:"delivered"`
	Pending     uint64            `json:"waiting"` // and not delivered; what is both counts as delivered
	Missing     uint64            `json:"missing"`
	Dropped     map[string]uint64 `json:"dropped"` // by reason: what the policy gave up, or the disk
	Quarantined uint64            `json:"quarantined"`
	Lost        uint64            `json:"lost"`
	LostIDs     []string          `json:"lostIds"` // such as "8f3a1c02-17-20"; at most 1,000
	Duplicates  uint64            `json:"duplicates"`
	OutOfOrder  uint64            `json:"outOfOrder"` // that arrived after a newer one of their lane
	Foreign     uint64            `json:"foreign"`    // messages of other devices or epochs
	Unreadable  uint64            `json:"unreadable"` // lines of what was received that could not be read; Compare leaves it 0
}

const maxLostIDs = 1000

// Compare compares a state directory's outbox with what was received. The numbers of the outbox's present epoch are compared; a
// message of any other counts as foreign.
func Compare(s *outbox.Snapshot, received iter.Seq[Receipt]) Report {
	r := Report{Accepted: s.Last, Dropped: map[string]uint64{}, LostIDs: []string{}}
	known := numbers{}
	newest := map[string]uint64{} // by lane
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
	lost := r.excuse(s.Forgotten, r.giveUp(s, gaps(known, s.Last)))
	r.Missing = r.Accepted - r.Delivered - r.Pending
	for _, l := range lost[:min(len(lost), maxLostIDs)] {
		r.LostIDs = append(r.LostIDs, fmt.Sprintf("%s-%s", s.Epoch, l))
	}
	return r
}

// numbers are a set, in words of 64 bits: most of a device's numbers follow one another, and they may be millions.
type numbers map[uint64]uint64

// add reports whether a number is new.
func (s numbers) add(n uint64) bool {
	word, bit := s[n/64], uint64(1)<<(n%64)
	s[n/64] = word | bit
	return word&bit == 0
}

// sorted are the numbers in order.
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

// gaps are the numbers up to last that are not known. They may be far more than anyone should count one by one.
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

// giveUp counts what is missing by its reason, and returns what has none.
func (r *Report) giveUp(s *outbox.Snapshot, missing []outbox.Range) (lost []outbox.Range) {
	lose := func(from, to uint64) {
		lost = append(lost, outbox.Range{First: from, Last: to})
		r.Lost += to - from + 1
	}
	dropped := slices.SortedFunc(slices.Values(s.Dropped), func(a, b outbox.Drop) int {
		return cmp.Compare(a.Numbers.First, b.Numbers.First)
	})
	for _, m := range missing {
		for len(dropped) > 0 && dropped[0].Numbers.Last < m.First {
			dropped = dropped[1:]
		}
		done := m.First - 1
		for _, d := range dropped {
			if d.Numbers.First > m.Last {
				break
			}
			from, to := max(d.Numbers.First, done+1), min(d.Numbers.Last, m.Last)
			if from > to {
				continue
			}
			if from > done+1 {
				lose(done+1, from-1)
			}
			r.count(d.Reason(), to-from+1)
			if done = to; done == m.Last {
				break
			}
		}
		if done < m.Last {
			lose(done+1, m.Last)
		}
	}
	return lost
}

// excuse takes out of what is lost as many as the outbox gave up and remembers only the count of. Which of the others are lost is
// known only where there are none.
func (r *Report) excuse(forgotten []outbox.Forgotten, lost []outbox.Range) []outbox.Range {
	forgotten = slices.SortedFunc(slices.Values(forgotten), func(a, b outbox.Forgotten) int { return cmp.Compare(a.Highest, b.Highest) })
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

// number is a message's number when it is of the outbox's epoch and one that was given.
func number(messageID string, s *outbox.Snapshot) (n uint64, ok bool) {
	digits, ok := strings.CutPrefix(messageID, s.Epoch+"-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && n > 0 && n <= s.Last && strconv.FormatUint(n, 10) == digits
}

// Reasons are the reasons for drops in the report, in order.
func (r Report) Reasons() (all []string) {
	for why := range r.Dropped {
		all = append(all, why)
	}
	slices.Sort(all)
	return all
}
