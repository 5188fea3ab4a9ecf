package observe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	floodPause = time.Second // between two records of one sort in a flood
	floodBurst = 64          // records of one sort that pass in that time; a hub may have 50 commands waiting
	maxSpans   = 64          // ranges of IDs that one record names
)

// A flood bounds how many records a Fan hands on. A record of a sort that the network, a disk or a
// queue can repeat without end is held when floodBurst of its sort have passed within floodPause (of
// dropped readings: when one has). What is held of one sort is combined, and passed as one record each
// floodPause: the last of them, which says in Repeated how many came before it, or for dropped
// readings one that names them all. It belongs to Fan.mu.
type flood struct {
	pass   func(Record)
	sorts  map[Record]*surge
	latest time.Time // of what was passed
}

// A surge is the records of one sort.
type surge struct {
	until  time.Time // the end of this floodPause
	passed int       // records in it
	timer  *time.Timer
	held   *Record // combined; nil: none
	epoch  string  // of the dropped readings
	spans  spans
}

// sortOf is what the records of one sort have in common, and how many of them pass at once; 0: all.
func sortOf(r Record) (sort Record, burst int) {
	sort = Record{Device: r.Device, Kind: r.Kind, Level: r.Level, Cause: r.Cause}
	switch r.Kind {
	case Dropped:
		return sort, 1
	case Handled:
		sort.Name, _, _ = strings.Cut(r.Name, " ") // method, command, message or desired
		sort.Status = r.Status
		return sort, floodBurst
	case Warning, IllegalEvent:
		return sort, floodBurst
	}
	return sort, 0
}

// hear passes a record or holds it. later is called after a time, with the lock of the Fan.
func (f *flood) hear(r Record, later func(time.Duration, func()) *time.Timer) {
	sort, burst := sortOf(r)
	if burst == 0 {
		f.hand(r)
		return
	}
	now := time.Now()
	s := f.sorts[sort]
	if s == nil || s.held == nil && !now.Before(s.until) {
		s = &surge{until: now.Add(floodPause)}
		f.sorts[sort] = s
	}
	if s.held == nil && s.passed < burst {
		s.passed++
		f.hand(r)
		return
	}
	if !s.hold(r) {
		f.flush(s)
		s.hold(r)
	}
	if s.timer == nil {
		s.timer = later(s.until.Sub(now), func() { f.flush(s) })
	}
}

// flush passes what is held of one sort. Its records keep their order in time among the others.
func (f *flood) flush(s *surge) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = nil
	if s.held == nil {
		return
	}
	r := *s.held
	s.held, s.spans, s.until = nil, nil, time.Now().Add(floodPause)
	if r.Time.Before(f.latest) {
		r.Time = f.latest
	}
	f.hand(r.Describe())
}

// flushAll passes all that is held, in the order of its times.
func (f *flood) flushAll() {
	var all []*surge
	for _, s := range f.sorts {
		if s.held != nil {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *surge) int { return a.held.Time.Compare(b.held.Time) })
	for _, s := range all {
		f.flush(s)
	}
}

func (f *flood) hand(r Record) {
	if r.Time.After(f.latest) {
		f.latest = r.Time
	}
	f.pass(r)
}

// hold combines a record with those that are held. It returns false when that would take too much room.
func (s *surge) hold(r Record) bool {
	if r.Kind != Dropped {
		if s.held != nil {
			r.Repeated += 1 + s.held.Repeated
		}
		s.held = &r
		return true
	}
	epoch, named := spansIn(r.ID)
	if len(s.spans) > 0 && len(named) > 0 && epoch != s.epoch || len(s.spans)+len(named) > maxSpans && s.held != nil {
		return false
	}
	if len(named) > 0 {
		s.epoch = epoch
	}
	for _, x := range named {
		s.spans.add(x)
	}
	if s.held != nil {
		r.Count = s.held.readings() + r.readings()
		r.ID, r.Message = s.spans.ids(s.epoch), ""
	}
	s.held = &r
	return true
}

// spans are numbers of readings, in order and apart from each other.
type spans []span

type span struct{ first, last uint64 }

// spansIn reads the IDs of a record, such as "8f3a1c02-17-20,25".
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

func (s *spans) add(x span) {
	i := slices.IndexFunc(*s, func(y span) bool { return y.last >= x.first || y.last+1 == x.first })
	if i < 0 {
		*s = append(*s, x)
		return
	}
	j := i
	for ; j < len(*s) && ((*s)[j].first <= x.last || (*s)[j].first == x.last+1); j++ {
		x.first, x.last = min(x.first, (*s)[j].first), max(x.last, (*s)[j].last)
	}
	*s = slices.Replace(*s, i, j, x)
}

// ids is the text that spansIn reads; "" when there are none.
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
