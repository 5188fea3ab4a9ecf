package outbox

import (
	"maps"
	"slices"
)

// knownDrops is how many ranges of numbers a history has, of each reason.
const knownDrops = 4096

// A history is what was given up and is recorded, for whoever compares what was taken with what has arrived: the newest ranges, and
// of those before them how many numbers they were.
type history struct {
	known  drops
	before map[Reason]tally
}

// A tally is how many numbers there were, and the highest of them.
type tally struct{ count, highest uint64 }

// add takes in numbers that it has not had.
func (h *history) add(others drops) {
	h.known.addAll(others)
	for why, all := range h.known {
		from := max(0, len(all)-knownDrops)
		for _, r := range all[:from] {
			t := h.before[why]
			if h.before == nil {
				h.before = map[Reason]tally{}
			}
			h.before[why] = tally{t.count + r.Count(), max(t.highest, r.Last)}
		}
		h.known[why] = all[from:]
	}
}

// clone is a copy that may be changed.
func (h history) clone() history {
	c := history{make(drops, len(h.known)), maps.Clone(h.before)}
	for why, r := range h.known {
		c.known[why] = slices.Clone(r)
	}
	return c
}
