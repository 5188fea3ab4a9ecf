package outbox

import (
	"maps"
	"slices"

	"giantlizard.example/failover/settings"
)

// outcomes lists what has happened to readings since it was last recorded in the log.
type outcomes struct {
	removed     ranges // numbers whose readings are not kept any more, such as acknowledged ones
	dropped     drops
	named       notice // notice that acknowledged readings have named
	unannounced drops  // part of dropped that is announced only after it is recorded; Put waits for that
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

// drops maps each reason to the numbers of the readings that were dropped for it.
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

// reasons returns the reasons in d, in alphabetical order.
func (d drops) reasons() []Reason { return slices.Sorted(maps.Keys(d)) }

// maxKnownDrops is the maximum number of ranges that a history keeps for each reason.
const maxKnownDrops = 4096

// A history holds the recorded drops, so that an operator can compare the accepted readings with those
// that have arrived.
type history struct {
	known  drops            // the newest ranges of numbers for each reason
	before map[Reason]tally // a summary of the older numbers
}

// A tally summarizes a set of numbers.
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
