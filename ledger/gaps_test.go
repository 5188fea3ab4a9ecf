package ledger

import (
	"slices"
	"testing"

	"giantlizard.example/failover/outbox"
)

func TestGapsAreTheNumbersThatAreNotKnown(t *testing.T) {
	for _, c := range []struct {
		known []uint64
		last  uint64
		want  []outbox.Range
	}{
		{nil, 0, nil},
		{nil, 3, []outbox.Range{{First: 1, Last: 3}}},
		{[]uint64{1, 2, 3}, 3, nil},
		{[]uint64{2, 3, 5, 64, 65}, 66,
			[]outbox.Range{{First: 1, Last: 1}, {First: 4, Last: 4}, {First: 6, Last: 63}, {First: 66, Last: 66}}},
	} {
		known := numbers{}
		for _, n := range c.known {
			known.add(n)
		}
		if got := gaps(known, c.last); !slices.Equal(got, c.want) {
			t.Errorf("between %v and up to %d there are the gaps %v, want %v", c.known, c.last, got, c.want)
		}
	}
}
