// Package ledger compares what a device took with what its hubs received, for someone who trusts neither.
package ledger

import (
	"fmt"
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
	Taken       uint64            `json:"taken"`
	Delivered   uint64            `json:"delivered"`
	Waiting     uint64            `json:"waiting"` // and not delivered; what is both counts as delivered
	Missing     uint64            `json:"missing"`
	Dropped     map[string]uint64 `json:"dropped"` // by reason: what the policy gave up, or the disk
	Quarantined uint64            `json:"quarantined"`
	Lost        uint64            `json:"lost"`
	LostIDs     []string          `json:"lostIds"` // such as "8f3a1c02-17-20"; at most 1,000
	Duplicates  uint64            `json:"duplicates"`
	OutOfOrder  uint64            `json:"outOfOrder"` // that arrived after a newer one of their lane
	Foreign     uint64            `json:"foreign"`    // messages of other devices or epochs
}

const maxLostIDs = 1000

// Compare compares a state directory's outbox with what was received. The numbers of the outbox's present epoch are compared; a
// message of any other counts as foreign.
func Compare(s *outbox.Snapshot, received []Receipt) Report {
	r := Report{Taken: s.Last, Dropped: map[string]uint64{}, LostIDs: []string{}}
	seen := make([]bool, s.Last+1)
	newest := map[string]uint64{} // by lane
	for _, m := range received {
		n, ours := number(m.MessageID, s)
		switch {
		case !ours:
			r.Foreign++
		case seen[n]:
			r.Duplicates++
		default:
			seen[n] = true
			r.Delivered++
			if n < newest[m.Lane] {
				r.OutOfOrder++
			}
			newest[m.Lane] = max(newest[m.Lane], n)
		}
	}
	reasons := map[uint64]string{}
	for _, d := range s.Dropped {
		for n := d.Numbers.First; n <= d.Numbers.Last; n++ {
			reasons[n] = string(d.Reason())
		}
	}
	var lost []outbox.Range
	for n := uint64(1); n <= s.Last; n++ {
		reason, given := reasons[n]
		switch {
		case seen[n]:
		case s.Waits(n):
			r.Waiting++
		case reason == string(outbox.Quarantined):
			r.Quarantined++
		case given:
			r.Dropped[reason]++
		default:
			r.Lost++
			if last := len(lost) - 1; last >= 0 && lost[last].Last == n-1 {
				lost[last].Last = n
			} else {
				lost = append(lost, outbox.Range{First: n, Last: n})
			}
		}
	}
	r.Missing = r.Taken - r.Delivered - r.Waiting
	for _, l := range lost[:min(len(lost), maxLostIDs)] {
		r.LostIDs = append(r.LostIDs, fmt.Sprintf("%s-%s", s.Epoch, l))
	}
	return r
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
