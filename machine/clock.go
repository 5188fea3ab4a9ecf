package machine

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/outbox"
)

// release is older than this version of the device, so no wall clock that has been set stands before it.
var release = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

const (
	wallCheck = 5 * time.Second        // how often the clocks are compared: no timer follows a wall clock
	minStep   = 2 * time.Second        // the wall clock was set if it has moved by so much: less is NTP's work
	noise     = 100 * time.Millisecond // differences below it say nothing
	maxSteps  = 1000                   // that are remembered
)

// A clock compares the wall clock, which somebody may set, with the monotonic clock, which nobody can. The
// monotonic one may stand still while the machine sleeps; then the wall clock moves ahead of it, and was not
// set. Where the system does not tell how long it slept, a move ahead may be either: then the dates of
// readings, which were right if it slept, are left as they are.
type clock struct {
	wall    func() time.Time
	asleep  func() (total time.Duration, known bool) // how long the machine has slept
	floor   time.Time                                // before it the wall clock has not been set
	born    time.Time                                // by the monotonic clock
	earlier uint64                                   // the outbox's newest number of an earlier run
	runs    runs                                     // what is known of the readings of earlier runs
	newest  atomic.Uint64                            // the outbox's newest number

	mu       sync.Mutex
	seen     time.Time     // by the wall clock, at the last look
	seenAt   time.Duration // by the monotonic clock, since birth
	sleepAt  time.Duration // asleep, at birth or when it was last asked
	slept    time.Duration // since birth, and one ns for each step, so that no reading has the uptime of one
	steps    []step
	untold   []step
	times    int           // how often the clock was set
	total    time.Duration // by how much in all
	changing chan struct{} // closed when the clock was set or the machine has slept
}

// A step is that the wall clock was set.
type step struct {
	uptime time.Duration // when that was seen; a smaller one is that of readings taken before
	by     time.Duration
	newest uint64 // the newest number that the outbox had given out
	unsure bool   // the machine may have slept instead
}

func newClock(wall func() time.Time, floor, born time.Time) *clock {
	c := &clock{wall: wall, asleep: asleep, floor: floor, born: born, changing: make(chan struct{}), slept: 1}
	c.sleepAt, _ = c.asleep()
	c.seen, c.seenAt, _ = c.read()
	return c
}

// read reads both clocks at one moment; ok is false if the process was held up in between.
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

// look compares the clocks, and returns the time and the uptime, both of one moment.
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

// moved is told by how much the wall clock has moved ahead of the monotonic one.
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
	s := step{uptime: c.seenAt + c.slept, by: by, newest: c.newest.Load(), unsure: !known && by > 0}
	if !s.unsure {
		c.steps = append(c.steps[max(0, len(c.steps)+1-maxSteps):], s)
	}
	c.untold = append(c.untold[max(0, len(c.untold)+1-maxSteps):], s)
	c.times, c.total = c.times+1, plus(c.total, by)
	c.changed()
}

func (c *clock) changed() {
	close(c.changing)
	c.changing = make(chan struct{})
}

// history is how often the clock was set so far, and by how much in all. next is closed when the clock is
// set again, or the machine has slept.
func (c *clock) history() (times int, total time.Duration, next <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.times, c.total, c.changing
}

// takeSteps are the steps since it was last called, for one caller.
func (c *clock) takeSteps() []step {
	c.mu.Lock()
	defer c.mu.Unlock()
	steps := c.untold
	c.untold = nil
	return steps
}

// sure are the steps that are known to be some.
func (c *clock) sure() []step {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.steps)
}

// uptime is how long the device has lived, the time for which the machine slept included.
func (c *clock) uptime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.born) + c.slept
}

// steady is a time that nobody sets: that of birth and the uptime.
func (c *clock) steady() time.Time { return c.born.Add(c.uptime()) }

// set is what the wall clock says, or zero while it has not been set.
func (c *clock) set() time.Time {
	if now, _ := c.look(); !now.Before(c.floor) {
		return now
	}
	return time.Time{}
}

// put notes that the outbox has given out a number.
func (c *clock) put(n uint64) {
	for {
		if newest := c.newest.Load(); n <= newest || c.newest.CompareAndSwap(newest, n) {
			return
		}
	}
}

// watch looks at the clocks until ctx ends, and calls each after it.
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

// stamp dates a reading unless the caller did.
func (c *clock) stamp(r *Reading) outbox.Stamp {
	wall, uptime := c.look()
	if !r.Taken.IsZero() {
		return outbox.Stamp{}
	}
	r.Taken = wall
	return outbox.Stamp{Uptime: uptime, BeforeClockWasSet: wall.Before(c.floor)}
}

// date is when a reading was taken, as well as it is known now, and whether that is an estimate.
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
	return wall.Add(-uptime), true // the uptime of an earlier run, which was over by the birth of this one, says nothing
}

// setSinceTaken is by how much the clock was set since a reading was taken, as far as that is known.
func (c *clock) setSinceTaken(r outbox.Reading) time.Duration {
	if r.ID.N > c.earlier {
		return c.setSince(r.Stamp.Uptime)
	}
	if _, requeued := r.Properties[outbox.RequeuedProperty]; requeued {
		return 0 // its number does not say when it was taken
	}
	return c.setSincePut(r.ID)
}

// setSince is by how much the clock was set since an uptime.
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

// plus adds durations, and does not wrap around: a clock may have stood centuries off.
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
