package observe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// spans are ranges of reading numbers, in ascending order and with gaps between them.
type spans []span

type span struct{ first, last uint64 }

// spansIn reads the ID field of a record, such as "8f3a1c02-17-20,25": the epoch, and the ranges of
// numbers. It skips ranges that it cannot read.
func spansIn(ids string) (epoch string, all spans) {
	epoch, numbers, _ := strings.Cut(ids, "-")
	for text := range strings.SplitSeq(numbers, ",") {
		from, to, isRange := strings.Cut(text, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 64)
		last, err2 := strconv.ParseUint(to, 10, 64)
		if err == nil && err2 == nil {
			all.add(span{first, last})
		}
	}
	return epoch, all
}

// add adds the range x, and joins it with the ranges that x overlaps or touches.
func (s *spans) add(x span) {
	i := slices.IndexFunc(*s, func(y span) bool { return y.last >= x.first || y.last+1 == x.first })
	if i < 0 {
		i = len(*s)
	}
	j := i
	for ; j < len(*s) && ((*s)[j].first <= x.last || (*s)[j].first == x.last+1); j++ {
		x.first, x.last = min(x.first, (*s)[j].first), max(x.last, (*s)[j].last)
	}
	*s = slices.Replace(*s, i, j, x)
}

// ids returns the ID field of a record, which spansIn can read, or "" if there are no ranges.
func (s spans) ids(epoch string) string {
	var texts []string
	for _, x := range s {
		if texts = append(texts, strconv.FormatUint(x.first, 10)); x.last > x.first {
			texts[len(texts)-1] = fmt.Sprintf("%d-%d", x.first, x.last)
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return epoch + "-" + strings.Join(texts, ",")
}
