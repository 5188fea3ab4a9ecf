package machine

import (
	"time"

	"giantlizard.example/failover/outbox"
)

// release is older than this version of the device, so no wall clock that has been set stands before it.
var release = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// A clock dates readings. What is taken before the wall clock has been set, which is a time before the floor, is dated by
// the monotonic clock once it has. That one may stand still while a machine sleeps, so such a date is an estimate.
type clock struct {
	wall    func() time.Time
	floor   time.Time
	born    time.Time // by the monotonic clock
	earlier uint64    // the newest number that an earlier run of the process has left in the outbox
}

// take is the time of a reading that is taken now, and how long after the device's birth when it is no real one.
func (c clock) take() (taken time.Time, early time.Duration) {
	taken = c.wall()
	if taken.Before(c.floor) {
		early = max(time.Since(c.born), 1) // 0 would say that taken stands
	}
	return taken, early
}

// date is when a reading was taken, as well as it is known now, and whether that is an estimate.
func (c clock) date(r outbox.Entry) (taken time.Time, estimated bool) {
	if r.Reading.Early <= 0 {
		return r.Reading.Taken, false
	}
	now := c.wall()
	if now.Before(c.floor) {
		return r.Reading.Taken, false
	}
	birth := now.Add(-time.Since(c.born))
	if r.ID.N <= c.earlier { // its monotonic clock has ended with its run, which was over by then
		return birth, true
	}
	return birth.Add(r.Reading.Early), true
}
