package outbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Range is the numbers from First to Last, both included. The zero Range has no numbers.
type Range struct{ First, Last uint64 }

// Count returns how many numbers are in r. It returns 1 for the zero Range, which in a Drop means one reading.
func (r Range) Count() uint64 { return r.Last - r.First + 1 }

// String returns "17" or "17-20".
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.FormatUint(r.First, 10)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// ranges is a set of numbers. Its elements are in order, and at least one number that is not in the set
// lies between two of them.
type ranges []Range

// add adds the numbers of r, which may be in the set already.
func (s *ranges) add(r Range) {
	from, _ := slices.BinarySearchFunc(*s, r.First, func(x Range, n uint64) int {
		if x.Last+1 < n {
			return -1
		}
		return 1
	})
	to := from
	for to < len(*s) && (*s)[to].First <= r.Last+1 {
		r.First, r.Last = min(r.First, (*s)[to].First), max(r.Last, (*s)[to].Last)
		to++
	}
	*s = slices.Replace(*s, from, to, r)
}

// takeText removes ranges from the set, the lowest first, and returns them, also as a text such as
// "17-20,25". It takes only ranges whose numbers are below the given one, and only as many as fit into
// limit bytes of text.
func (s *ranges) takeText(below uint64, limit int) (text string, taken ranges) {
	var b strings.Builder
	for len(*s) > 0 && (*s)[0].Last < below {
		next := (*s)[0].String()
		if b.Len() > 0 {
			next = "," + next
		}
		if b.Len()+len(next) > limit {
			break
		}
		b.WriteString(next)
		taken = append(taken, (*s)[0])
		*s = (*s)[1:]
	}
	return b.String(), taken
}

func (s *ranges) addAll(others ranges) {
	for _, r := range others {
		s.add(r)
	}
}

// remove removes the numbers of r, which need not be in the set.
func (s *ranges) remove(r Range) {
	from, _ := slices.BinarySearchFunc(*s, r.First, func(x Range, n uint64) int {
		if x.Last < n {
			return -1
		}
		return 1
	})
	var rest ranges
	to := from
	for ; to < len(*s) && (*s)[to].First <= r.Last; to++ {
		rest = append(rest, ranges{r}.without((*s)[to])...)
	}
	if from == 0 && len(rest) == 0 { // the usual case, because the oldest numbers are named first
		*s = (*s)[to:]
		return
	}
	*s = slices.Replace(*s, from, to, rest...)
}

// newest returns the newest ranges of the set that take at most limit bytes in a record.
func (s ranges) newest(limit int) ranges {
	from := len(s)
	for ; from > 0; from-- {
		if limit -= len(appendRanges(nil, s[from-1:from])); limit < 0 {
			break
		}
	}
	return s[from:]
}

// without returns the numbers of r that are not in the set.
func (s ranges) without(r Range) (rest ranges) {
	for _, x := range s {
		if x.Last < r.First || x.First > r.Last {
			continue
		}
		if x.First > r.First {
			rest = append(rest, Range{r.First, x.First - 1})
		}
		if x.Last >= r.Last {
			return rest
		}
		r.First = x.Last + 1
	}
	return append(rest, r)
}
