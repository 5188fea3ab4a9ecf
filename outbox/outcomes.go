package outbox

import (
	"maps"
	"slices"

	"giantlizard.example/failover/settings"
)

// outcomes are what has become of readings, as the next records in the log will say it.
type outcomes struct {
	removed     ranges // acknowledged, or written again elsewhere
	dropped     drops
	named       notice // what the acknowledged readings have named
	unannounced drops  // those of dropped that are announced once they are recorded: Put waits for it
}

// isEmpty reports whether there is nothing to record.
func (o *outcomes) isEmpty() bool {
	return len(o.removed) == 0 && len(o.dropped) == 0 && o.named.isEmpty()
}

func (o *outcomes) add(others outcomes) {
	o.removed.addAll(others.removed)
	o.dropped.addAll(others.dropped)
	o.named.add(others.named)
	o.unannounced.addAll(others.unannounced)
}

// announce calls how for each drop that was not announced yet.
func (o *outcomes) announce(how func(n uint64, why Reason)) {
	for _, why := range o.unannounced.reasons() {
		for _, r := range o.unannounced[why] {
			for n := r.First; n <= r.Last; n++ {
				how(n, why)
			}
		}
	}
	o.unannounced = nil
}

// drops are the numbers of dropped readings, by the reason.
type drops map[Reason]ranges

func (d *drops) add(why Reason, numbers ...Range) {
	if len(numbers) == 0 {
		return
	}
	if *d == nil {
		*d = drops{}
	}
	all := (*d)[why]
	all.addAll(numbers)
	(*d)[why] = all
}

func (d *drops) addAll(others drops) {
	for why, r := range others {
		d.add(why, r...)
	}
}

// reasons are those there are, in order.
func (d drops) reasons() []Reason { return slices.Sorted(maps.Keys(d)) }

// maxKnownDrops is how many ranges of numbers a history keeps of each reason.
const maxKnownDrops = 4096

// A history is the drops that are recorded, for those who compare what was accepted with what has
// arrived: the newest ranges, and of the numbers before them how many they were.
type history struct {
	known  drops
	before map[Reason]tally
}

// A tally is how many numbers there were, and the highest of them.
type tally struct{ count, highest uint64 }

// add adds drops that are not in h yet.
func (h *history) add(others drops) {
	h.known.addAll(others)
	for why, all := range h.known {
		from := max(0, len(all)-maxKnownDrops)
		for _, r := range all[:from] {
			t := h.before[why]
			settings.Default(&h.before, map[Reason]tally{})
			h.before[why] = tally{t.count + r.Count(), max(t.highest, r.Last)}
		}
		h.known[why] = all[from:]
	}
}

// clone returns a copy that may be changed.
func (h history) clone() history {
	c := history{make(drops, len(h.known)), maps.Clone(h.before)}
	for why, r := range h.known {
		c.known[why] = slices.Clone(r)
	}
	return c
}
