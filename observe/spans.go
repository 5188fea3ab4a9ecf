package observe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// spans are ranges of the numbers of readings, in order and with gaps between them.
type spans []span

type span struct{ first, last uint64 }

// spansIn reads the IDs of a record, such as "8f3a1c02-17-20,25". It skips what it cannot read.
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

// add adds a range, and joins it with those that it overlaps or touches.
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

// ids returns the text that spansIn reads, or "" if there are no ranges.
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
