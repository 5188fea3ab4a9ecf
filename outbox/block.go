package outbox

import "slices"

// A block holds the places of readings with consecutive numbers. A zero place means that no reading
// with its number is kept.
type block[P comparable] struct {
	first  uint64
	places []P // places of the readings first, first+1, and so on
	live   int // number of readings that are kept
	low    int // index in places; the readings at lower indexes are gone or in flight
}

// search returns the index of the first block that ends behind number n. The blocks are in order.
func search[B interface{ end() uint64 }](blocks []B, n uint64) int {
	if len(blocks) == 0 || blocks[0].end() > n { // the usual case
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

// add appends the place of reading n. Numbers skipped before n get zero places.
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

// end returns the number after that of the newest reading.
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

// release makes oldest find a reading again whose flight has ended.
func (b *block[P]) release(n uint64) { b.low = min(b.low, int(n-b.first)) }

// cut removes reading n and all later readings from the block, because they were written again in a
// newer segment. Therefore gone does not return their numbers.
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

// cutThrough removes reading n and all earlier readings from the block. gone does not return their numbers.
func (b *block[P]) cutThrough(n uint64) {
	var none P
	cut := min(n+1-b.first, uint64(len(b.places)))
	for _, p := range b.places[:cut] {
		if p != none {
			b.live--
		}
	}
	b.first, b.places = n+1, b.places[cut:]
}

// gone returns the numbers in the block whose readings are not kept any more.
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
