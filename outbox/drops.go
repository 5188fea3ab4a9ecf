package outbox

import (
	"maps"
	"slices"
)

// drops are the numbers that were given up, by the reason.
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
