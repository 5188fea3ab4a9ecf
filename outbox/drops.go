package outbox

import (
	"maps"
	"slices"
)

// drops are the numbers that were given up, by the reason.
type drops map[Reason]ranges

// knownDrops is how many ranges are remembered, of each reason, for whoever compares what was taken with what has arrived.
const knownDrops = 4096

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

// bound forgets the oldest beyond what is remembered.
func (d drops) bound() {
	for why, r := range d {
		d[why] = r[max(0, len(r)-knownDrops):]
	}
}

func (d *drops) addAll(others drops) {
	for why, r := range others {
		d.add(why, r...)
	}
}

// clone is a copy that may be changed.
func (d drops) clone() drops {
	c := make(drops, len(d))
	for why, r := range d {
		c[why] = slices.Clone(r)
	}
	return c
}

// each calls back for every number.
func (d drops) each(how func(why Reason, n uint64)) {
	for _, why := range d.reasons() {
		for _, r := range d[why] {
			for n := r.First; n <= r.Last; n++ {
				how(why, n)
			}
		}
	}
}

// reasons are those there are, in order.
func (d drops) reasons() []Reason { return slices.Sorted(maps.Keys(d)) }
