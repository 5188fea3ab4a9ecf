package observe

import (
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	seriesInterval = time.Second // time between two records of one sort in a flood
	// seriesBurst is the number of records of one sort that pass in one seriesInterval. It exceeds 50,
	// the number of commands that a hub may hold for a device.
	seriesBurst = 64
	maxSpans    = 64 // largest number of ranges of IDs in one record
)

// A limiter bounds the number of records that a Fan passes to its observers, because the network, a
// disk or a queue can repeat some sorts of records without end. When seriesBurst records of such a
// sort have passed within seriesInterval, the limiter holds further records of the sort. Records of
// dropped readings are held after the first one. Once in each seriesInterval the limiter passes one
// record for all held records of a sort: the last one, with the number of the others in Repeated.
// For dropped readings this record names all of the readings. Fan.mu guards the limiter.
type limiter struct {
	pass   func(Record)
	series map[Record]*series // one series for each sort
	latest time.Time          // latest time in the records that were passed
}

// A series counts and holds the records of one sort.
type series struct {
	until  time.Time // the end of this seriesInterval
	passed int       // number of records that were passed in this seriesInterval
	timer  *time.Timer
	held   *Record // one record for all that are held; nil means that none is held
	epoch  string  // epoch of the dropped readings
	spans  spans   // numbers of the dropped readings
}

// sortOf returns the sort of a record, which is a Record with only the fields that all records of
// the sort share. burst is the number of records of the sort that pass in a seriesInterval; zero
// means all.
func sortOf(r Record) (sort Record, burst int) {
	sort = Record{Device: r.Device, Kind: r.Kind, Level: r.Level, Cause: r.Cause}
	switch r.Kind {
	case Dropped:
		return sort, 1
	case Handled:
		sort.Name, _, _ = strings.Cut(r.Name, " ") // the first word: method, command, message or desired
		sort.Status = r.Status
		return sort, seriesBurst
	case Warning, IllegalEvent:
		return sort, seriesBurst
	}
	return sort, 0
}

// add passes a record or holds it. The argument later is a function that calls another function
// after a delay, with Fan.mu locked.
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

// flush passes the record that a series holds. If the record is older than the latest one that was
// passed, it gets the time of that one.
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

// flushAll passes the held records of all series, in the order of their times.
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

// hold combines a record with the held one. It returns false, and changes nothing, if one record
// cannot hold the IDs of both.
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
