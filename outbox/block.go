package outbox

import "slices"

// A block says where the readings of consecutive numbers are kept. The zero value of a place means
// that there is no such reading any more.
type block[P comparable] struct {
	first  uint64
	places []P // of the readings first, first+1, and so on
	live   int // how many of them are kept
	low    int // the places before it hold no reading that can be handed out
}

// search returns the index of the first block that ends behind number n. The blocks are in order.
func search[B interface{ end() uint64 }](blocks []B, n uint64) int {
	if len(blocks) == 0 || blocks[0].end() > n { // mostly
		return 0
	}
	i, _ := slices.BinarySearchFunc(blocks, n, func(b B, n uint64) int {
		if b.end() <= n {
			return -1
		}
		return 1
	})
	return i
}

// add appends a reading. Numbers that are left out have none.
func (b *block[P]) add(n uint64, p P) {
	if len(b.places) == 0 {
		b.first = n
	}
	if gap := int(n - b.end()); gap > 0 {
		b.places = append(b.places, make([]P, gap)...)
	}
	b.places = append(b.places, p)
	b.live++
}

// end is the number after that of the newest reading.
func (b *block[P]) end() uint64 { return b.first + uint64(len(b.places)) }

// at returns a reading's place, or nil if it is not kept here.
func (b *block[P]) at(n uint64) *P {
	var none P
	if n < b.first || n >= b.end() || b.places[n-b.first] == none {
		return nil
	}
	return &b.places[n-b.first]
}

// remove forgets a reading that is kept here.
func (b *block[P]) remove(n uint64) {
	var none P
	b.places[n-b.first] = none
	b.live--
}

// oldest returns the oldest number above after, and not above safe, whose reading is kept here and not
// in flight.
func (b *block[P]) oldest(after, safe uint64, inFlight map[uint64]*flight) (n uint64, ok bool) {
	var none P
	i := b.low
	if after >= b.first {
		i = max(i, int(after+1-b.first))
	}
	for ; b.live > 0 && i < len(b.places) && b.first+uint64(i) <= safe; i++ {
		n := b.first + uint64(i)
		if b.places[i] != none && inFlight[n] == nil {
			return n, true
		}
		if i == b.low {
			b.low++
		}
	}
	return 0, false
}

// release has oldest find a reading again that was in flight.
func (b *block[P]) release(n uint64) { b.low = min(b.low, int(n-b.first)) }

// cut takes out a reading and all behind it, because they were written again elsewhere. So the others
// do not count as gone.
func (b *block[P]) cut(n uint64) {
	var none P
	if b.at(n) == nil {
		return
	}
	for _, p := range b.places[n-b.first:] {
		if p != none {
			b.live--
		}
	}
	b.places = b.places[:n-b.first]
}

// gone returns the numbers whose readings were kept here and are not any more.
func (b *block[P]) gone() (r ranges) {
	var none P
	for i := 0; i < len(b.places); i++ {
		from := i
		for i < len(b.places) && b.places[i] == none {
			i++
		}
		if i > from {
			r = append(r, Range{b.first + uint64(from), b.first + uint64(i) - 1})
		}
	}
	return r
}

// kept returns an iterator over the numbers whose readings are kept here, and their places.
func (b *block[P]) kept(yield func(n uint64, p P) bool) {
	var none P
	for i, p := range b.places {
		if p != none && !yield(b.first+uint64(i), p) {
			return
		}
	}
}
