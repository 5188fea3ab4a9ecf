package observe

import (
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	seriesInterval = time.Second // between two records of one sort in a flood
	seriesBurst    = 64          // records of one sort that pass in that time; a hub may hold 50 commands for a device
	maxSpans       = 64          // ranges of IDs in one record
)

// A limiter bounds the number of records that a Fan hands on. The network, a disk or a queue can
// repeat some sorts of records without end. When seriesBurst of such a sort have passed within
// seriesInterval (of dropped readings: one), the limiter holds the next ones. Each seriesInterval
// it passes one record for those of a sort that it holds: the last, with the number of the others
// in Repeated, or for dropped readings a record that names them all. Fan.mu guards it.
type limiter struct {
	pass   func(Record)
	series map[Record]*series // by sort
	latest time.Time          // of the records that were passed
}

// A series is the records of one sort.
type series struct {
	until  time.Time // the end of this seriesInterval
	passed int       // records in this seriesInterval
	timer  *time.Timer
	held   *Record // combined; nil means none
	epoch  string  // of the dropped readings
	spans  spans
}

// sortOf returns what the records of one sort have in common, and how many of them pass in a
// seriesInterval. Zero means all.
func sortOf(r Record) (sort Record, burst int) {
	sort = Record{Device: r.Device, Kind: r.Kind, Level: r.Level, Cause: r.Cause}
	switch r.Kind {
	case Dropped:
		return sort, 1
	case Handled:
		sort.Name, _, _ = strings.Cut(r.Name, " ") // method, command, message or desired
		sort.Status = r.Status
		return sort, seriesBurst
	case Warning, IllegalEvent:
		return sort, seriesBurst
	}
	return sort, 0
}

// add passes a record or holds it. later calls a function after a time, with Fan.mu locked.
func (l *limiter) add(r Record, later func(time.Duration, func()) *time.Timer) {
	sort, burst := sortOf(r)
	if burst == 0 {
		l.passOn(r)
		return
	}
	now := time.Now()
	s := l.series[sort]
	if s == nil || s.held == nil && !now.Before(s.until) {
		s = &series{until: now.Add(seriesInterval)}
		l.series[sort] = s
	}
	if s.held == nil && s.passed < burst {
		s.passed++
		l.passOn(r)
		return
	}
	if !s.hold(r) {
		l.flush(s)
		s.hold(r)
	}
	if s.timer == nil {
		s.timer = later(s.until.Sub(now), func() { l.flush(s) })
	}
}

// flush passes what a series holds. Its time is not before that of the last record that was passed.
func (l *limiter) flush(s *series) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = nil
	if s.held == nil {
		return
	}
	r := *s.held
	s.held, s.spans, s.until = nil, nil, time.Now().Add(seriesInterval)
	if r.Time.Before(l.latest) {
		r.Time = l.latest
	}
	l.passOn(r.Describe())
}

// flushAll passes all that is held, in the order of its times.
func (l *limiter) flushAll() {
	held := slices.DeleteFunc(slices.Collect(maps.Values(l.series)), func(s *series) bool { return s.held == nil })
	slices.SortFunc(held, func(a, b *series) int { return a.held.Time.Compare(b.held.Time) })
	for _, s := range held {
		l.flush(s)
	}
}

func (l *limiter) passOn(r Record) {
	if r.Time.After(l.latest) {
		l.latest = r.Time
	}
	l.pass(r)
}

// hold combines a record with those that are held. It reports whether there is room for the IDs.
func (s *series) hold(r Record) bool {
	if r.Kind != Dropped {
		if s.held != nil {
			r.Repeated += 1 + s.held.Repeated
		}
		s.held = &r
		return true
	}
	epoch, added := spansIn(r.ID)
	if len(s.spans) > 0 && len(added) > 0 && epoch != s.epoch || len(s.spans)+len(added) > maxSpans && s.held != nil {
		return false
	}
	for _, x := range added {
		s.epoch = epoch
		s.spans.add(x)
	}
	if s.held != nil {
		r.Count = s.held.readings() + r.readings()
		r.ID, r.Message = s.spans.ids(s.epoch), ""
	}
	s.held = &r
	return true
}
