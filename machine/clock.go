package machine

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"giantlizard.example/failover/outbox"
)

// release is a time before the release of this version. A wall clock that shows an earlier time has not been
// set.
var release = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

const (
	wallCheck = 5 * time.Second        // interval between comparisons of the clocks; no timer follows the wall clock
	minStep   = 2 * time.Second        // smallest move that counts as setting the wall clock; NTP moves it by less
	noise     = 100 * time.Millisecond // smallest difference between the clocks that is not ignored
	maxSteps  = 1000                   // largest number of steps that are kept
)

// A clock compares the wall clock, which somebody may set, with the monotonic clock, which nobody can set.
// The monotonic clock may stand still while the machine sleeps, so the wall clock moves ahead although nobody
// has set it. If the system does not say how long the machine has slept, nobody knows whether a move ahead
// was sleep or a setting. Then the clock does not correct the dates of readings for this move, which is right
// if the machine has slept.
type clock struct {
	wall    func() time.Time
	asleep  func() (total time.Duration, known bool) // returns how long the machine has slept
	floor   time.Time                                // a wall clock that shows an earlier time has not been set
	born    time.Time                                // time at which the device was made, with a monotonic reading
	earlier uint64                                   // last number that the outbox gave out in an earlier run
	runs    runs                                     // steps of the wall clock in earlier runs

	mu         sync.Mutex
	newest     uint64        // last number that the outbox has given out
	seen       time.Time     // time of the wall clock at the last comparison
	seenAt     time.Duration // time from born to the last comparison, by the monotonic clock
	sleepAt    time.Duration // result of asleep when sleep was last noticed
	slept      time.Duration // sleep since born, plus 1 ns per step: no reading then has the same uptime as a step
	steps      []step        // newest steps that are certain, at most maxSteps
	unrecorded []step        // steps that takeSteps has not returned yet
	times      int           // number of steps
	total      time.Duration // sum of all steps
	changing   chan struct{} // closed when the clock was set or the machine has slept
}

// A step is one setting of the wall clock.
type step struct {
	uptime time.Duration // uptime when the step was noticed; readings with a smaller uptime were taken before the step
	by     time.Duration // size of the step; negative means back
	newest uint64        // last number that the outbox had given out before the step
	unsure bool          // whether the machine may have slept instead
}

func newClock(wall func() time.Time, floor, born time.Time) *clock {
	c := &clock{wall: wall, asleep: asleep, floor: floor, born: born, changing: make(chan struct{}), slept: 1}
	c.sleepAt, _ = c.asleep()
	c.seen, c.seenAt, _ = c.read()
	return c
}

// read reads both clocks at nearly the same moment. at is the time since born, by the monotonic clock. ok is
// false if the process was interrupted between the two in each of ten tries.
func (c *clock) read() (wall time.Time, at time.Duration, ok bool) {
	for range 10 {
		before := time.Since(c.born)
		wall = c.wall().Round(0)
		if at = time.Since(c.born); at-before < noise {
			return wall, at, true
		}
	}
	return wall, at, false
}

// look compares the clocks, and returns the time of the wall clock and the uptime of the same moment.
func (c *clock) look() (wall time.Time, uptime time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, at, ok := c.read()
	if !ok {
		return wall, at + c.slept
	}
	moved := minus(wall.Sub(c.seen), at-c.seenAt)
	c.seen, c.seenAt = wall, at
	if moved.Abs() >= noise {
		c.moved(moved)
	}
	return wall, at + c.slept
}

// moved notes that the wall clock has moved ahead of the monotonic clock by a duration, because the machine
// has slept or somebody has set the wall clock. The caller holds c.mu.
func (c *clock) moved(by time.Duration) {
	asleep, known := c.asleep()
	if slept := asleep - c.sleepAt; known && slept >= noise {
		c.sleepAt, c.slept = asleep, c.slept+slept
		by = minus(by, slept)
		c.changed()
	}
	if by.Abs() < minStep {
		return
	}
	c.slept++
	s := step{uptime: c.seenAt + c.slept, by: by, newest: c.newest, unsure: !known && by > 0}
	if !s.unsure {
		c.steps = append(c.steps[max(0, len(c.steps)+1-maxSteps):], s)
	}
	c.unrecorded = append(c.unrecorded[max(0, len(c.unrecorded)+1-maxSteps):], s)
	c.times, c.total = c.times+1, plus(c.total, by)
	c.changed()
}

// wake makes each wait look again at how long it still has to wait.
func (c *clock) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed()
}

func (c *clock) changed() {
	close(c.changing)
	c.changing = make(chan struct{})
}

// history returns the number of steps of the wall clock so far, and their sum. next is closed when the clock
// is set again or the machine has slept.
func (c *clock) history() (times int, total time.Duration, next <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.times, c.total, c.changing
}

// takeSteps returns the steps since its last call. It has only one caller, because each step is returned
// once.
func (c *clock) takeSteps() []step {
	c.mu.Lock()
	defer c.mu.Unlock()
	steps := c.unrecorded
	c.unrecorded = nil
	return steps
}

// sure returns the steps that are certain: moves of the wall clock that cannot have been sleep.
func (c *clock) sure() []step {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.steps)
}

// uptime returns the time since the device was made, including the time for which the machine slept.
func (c *clock) uptime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.born) + c.slept
}

// steady returns the current time by a clock that is not changed when somebody sets the wall clock.
func (c *clock) steady() time.Time { return c.born.Add(c.uptime()) }

// isSet decides whether the wall clock had been set when it showed t.
func (c *clock) isSet(t time.Time) bool { return !t.Before(c.floor) }

// wallTime returns the time of the wall clock, or the zero time if the wall clock has not been set.
func (c *clock) wallTime() time.Time {
	if now, _ := c.look(); c.isSet(now) {
		return now
	}
	return time.Time{}
}

// put notes a number that the outbox has given out.
func (c *clock) put(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = max(c.newest, n)
}

// wait waits until ctx ends or left returns zero or less. It calls left again whenever the wall clock was
// set, the machine has slept, wake was called, or the time is up.
func (c *clock) wait(ctx context.Context, left func() time.Duration) {
	for {
		_, _, changed := c.history()
		wait := left()
		if wait <= 0 {
			return
		}
		select {
		case <-time.After(wait):
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// watch compares the clocks every wallCheck until ctx ends, and calls each after every comparison.
func (c *clock) watch(ctx context.Context, each func()) {
	tick := time.NewTicker(wallCheck)
	defer tick.Stop()
	defer each()
	for {
		select {
		case <-tick.C:
			c.look()
			each()
		case <-ctx.Done():
			c.look()
			return
		}
	}
}

// stamp sets r.Taken to the time of the wall clock, unless the program has set it. It returns the Stamp of
// the reading, which is zero if the program has set the time.
func (c *clock) stamp(r *Reading) outbox.Stamp {
	wall, uptime := c.look()
	if !r.Taken.IsZero() {
		return outbox.Stamp{}
	}
	r.Taken = wall
	return outbox.Stamp{Uptime: uptime, BeforeClockWasSet: !c.isSet(wall)}
}

// date returns the best known time at which a reading was taken, and whether that time is an estimate.
func (c *clock) date(r outbox.Reading) (taken time.Time, estimated bool) {
	wall, uptime := c.look()
	if r.Stamp.Uptime <= 0 || !c.isSet(wall) {
		return r.Taken, false
	}
	if dated := r.Taken.Add(c.setSinceTaken(r)); !dated.Equal(r.Taken) && c.isSet(dated) {
		return dated, true
	}
	switch {
	case !r.Stamp.BeforeClockWasSet:
		return r.Taken, false
	case r.ID.N > c.earlier:
		return wall.Add(r.Stamp.Uptime - uptime), true
	}
	return wall.Add(-uptime), true // an earlier run took the reading, at the latest when this run began
}

// setSinceTaken returns the sum of the known steps of the wall clock since a reading was taken.
func (c *clock) setSinceTaken(r outbox.Reading) time.Duration {
	if r.ID.N > c.earlier {
		return c.setSince(r.Stamp.Uptime)
	}
	if _, requeued := r.Properties[outbox.RequeuedProperty]; requeued {
		return 0 // the number of a requeued reading does not show in which run the reading was taken
	}
	return c.setSincePut(r.ID)
}

// setSince returns the sum of this run's certain steps of the wall clock after an uptime.
func (c *clock) setSince(uptime time.Duration) (by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.steps {
		if s.uptime > uptime {
			by = plus(by, s.by)
		}
	}
	return by
}

// plus adds durations without overflow, because the wall clock may be wrong by centuries.
func plus(a, b time.Duration) time.Duration {
	switch sum := a + b; {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	default:
		return sum
	}
}

func minus(a, b time.Duration) time.Duration { return plus(a, -b) }
