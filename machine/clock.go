package machine

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"giantlizard.example/failover/outbox"
)

// release is before this version was made. A wall clock that shows an earlier time has not been set.
var release = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

const (
	wallCheck = 5 * time.Second        // how often the clocks are compared, because no timer follows a wall clock
	minStep   = 2 * time.Second        // a wall clock that moved by so much was set; NTP moves it by less
	noise     = 100 * time.Millisecond // smaller differences are ignored
	maxSteps  = 1000                   // how many steps are kept
)

// A clock compares the wall clock, which somebody may set, with the monotonic clock, which nobody can. The
// monotonic clock may stand still while the machine sleeps. Then the wall clock moves ahead of it although it
// was not set. If the system does not say how long it slept, a move ahead may be either; the clock then leaves
// the dates of readings as they are, which is right if the machine slept.
type clock struct {
	wall    func() time.Time
	asleep  func() (total time.Duration, known bool) // how long the machine has slept
	floor   time.Time                                // an earlier wall clock has not been set
	born    time.Time                                // when the device was made, by the monotonic clock
	earlier uint64                                   // the last number that the outbox gave out in an earlier run
	runs    runs                                     // what is known of the readings of earlier runs

	mu         sync.Mutex
	newest     uint64        // the last number that the outbox gave out
	seen       time.Time     // the wall clock at the last look
	seenAt     time.Duration // the monotonic clock at the last look, since born
	sleepAt    time.Duration // what asleep returned last
	slept      time.Duration // since born, and 1 ns for each step, so that no reading has the same uptime as a step
	steps      []step        // without those that are unsure
	unrecorded []step
	times      int           // how often the clock was set
	total      time.Duration // by how much in all
	changing   chan struct{} // closed when the clock was set or the machine has slept
}

// A step is one setting of the wall clock.
type step struct {
	uptime time.Duration // when it was noticed; readings with a smaller uptime were taken before it
	by     time.Duration
	newest uint64 // the last number that the outbox had given out
	unsure bool   // the machine may have slept instead
}

func newClock(wall func() time.Time, floor, born time.Time) *clock {
	c := &clock{wall: wall, asleep: asleep, floor: floor, born: born, changing: make(chan struct{}), slept: 1}
	c.sleepAt, _ = c.asleep()
	c.seen, c.seenAt, _ = c.read()
	return c
}

// read reads both clocks at the same moment. ok is false if the process was always interrupted in between.
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

// look compares the clocks, and returns the time and the uptime of the same moment.
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

// moved notes by how much the wall clock has moved ahead of the monotonic one: the machine slept, or the clock was set.
// The lock is held.
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

func (c *clock) changed() {
	close(c.changing)
	c.changing = make(chan struct{})
}

// history returns how often the clock was set so far, and by how much in all. next is closed when the clock is
// set again or the machine has slept.
func (c *clock) history() (times int, total time.Duration, next <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.times, c.total, c.changing
}

// takeSteps returns the steps since it was last called, to its only caller.
func (c *clock) takeSteps() []step {
	c.mu.Lock()
	defer c.mu.Unlock()
	steps := c.unrecorded
	c.unrecorded = nil
	return steps
}

// sure returns the steps without those that may have been sleep.
func (c *clock) sure() []step {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.steps)
}

// uptime is the time since the device was made. It includes the time for which the machine slept.
func (c *clock) uptime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.born) + c.slept
}

// steady is a time that no setting of the wall clock changes.
func (c *clock) steady() time.Time { return c.born.Add(c.uptime()) }

// set returns the wall clock, or the zero time while it has not been set.
func (c *clock) set() time.Time {
	if now, _ := c.look(); !now.Before(c.floor) {
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

// wait waits until ctx ends or no time is left. It asks left again whenever a clock has moved.
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

// watch compares the clocks until ctx ends, and calls each after every comparison.
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

// stamp dates a reading, unless the program has done so, and returns by which clock.
func (c *clock) stamp(r *Reading) outbox.Stamp {
	wall, uptime := c.look()
	if !r.Taken.IsZero() {
		return outbox.Stamp{}
	}
	r.Taken = wall
	return outbox.Stamp{Uptime: uptime, BeforeClockWasSet: wall.Before(c.floor)}
}

// date returns when a reading was taken, as well as that is known now, and whether it is an estimate.
func (c *clock) date(r outbox.Reading) (taken time.Time, estimated bool) {
	wall, uptime := c.look()
	if r.Stamp.Uptime <= 0 || wall.Before(c.floor) {
		return r.Taken, false
	}
	if dated := r.Taken.Add(c.setSinceTaken(r)); !dated.Equal(r.Taken) && !dated.Before(c.floor) {
		return dated, true
	}
	switch {
	case !r.Stamp.BeforeClockWasSet:
		return r.Taken, false
	case r.ID.N > c.earlier:
		return wall.Add(r.Stamp.Uptime - uptime), true
	}
	return wall.Add(-uptime), true // it was taken in an earlier run, at the latest when this one began
}

// setSinceTaken returns by how much the clock was set since a reading was taken, as far as that is known.
func (c *clock) setSinceTaken(r outbox.Reading) time.Duration {
	if r.ID.N > c.earlier {
		return c.setSince(r.Stamp.Uptime)
	}
	if _, requeued := r.Properties[outbox.RequeuedProperty]; requeued {
		return 0 // its number does not say when it was taken
	}
	return c.setSincePut(r.ID)
}

// setSince returns by how much the clock was set since an uptime.
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

// plus adds durations without overflow: a clock may be off by centuries.
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
