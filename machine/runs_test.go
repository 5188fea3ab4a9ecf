package machine

import (
	"math"
	"testing"
	"time"

	"giantlizard.example/failover/outbox"
)

func TestAnEarlierRunsReadingsFollowTheStepsThatWereSeenAfterThem(t *testing.T) {
	const hour = time.Hour
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	at := func(n uint64) outbox.ID { return outbox.ID{Epoch: "e", N: n} }
	first := runs{}.next(at(10), "boot 1", now) // 1 to 10 are older than this file
	saved := first.with([]step{{newest: 20, by: hour}, {newest: 30, by: -3 * hour}}, now)
	for name, c := range map[string]struct {
		next runs
		set  map[uint64]time.Duration // since the reading of this number was put, with a step of 5 h in this run
	}{
		"the process was started again": {
			saved.next(at(40), "boot 1", now.Add(time.Minute)),
			map[uint64]time.Duration{10: 0, 11: 3 * hour, 20: 3 * hour, 21: 2 * hour, 30: 2 * hour, 31: 5 * hour,
				40: 5 * hour},
		},
		"the machine was started again": {
			saved.next(at(40), "boot 2", now.Add(time.Minute)),
			map[uint64]time.Duration{10: 0, 11: -2 * hour, 20: -2 * hour, 21: -3 * hour, 30: -3 * hour, 31: 0, 40: 0},
		},
		"it is not known whether the machine was": {
			saved.next(at(40), "", now.Add(time.Minute)),
			map[uint64]time.Duration{20: -2 * hour, 40: 0},
		},
		"the clock was set back meanwhile": {
			saved.next(at(40), "boot 1", now.Add(-time.Minute)),
			map[uint64]time.Duration{20: -2 * hour, 40: 0},
		},
		"the outbox is another one": {
			saved.next(outbox.ID{Epoch: "f", N: 40}, "boot 1", now.Add(time.Minute)),
			map[uint64]time.Duration{20: 0, 40: 0},
		},
	} {
		clock := &clock{runs: c.next, steps: []step{{uptime: 2, by: 5 * hour}}}
		for n, want := range c.set {
			if got := clock.setSincePut(at(n)); got != want {
				t.Errorf("%s: since reading %d was put, the clock was set by %v, want %v", name, n, got, want)
			}
		}
	}
}

func TestNoMoreStepsAreKeptThanAFileHolds(t *testing.T) {
	var r runs
	for n := range uint64(3 * maxSteps) {
		r = r.with([]step{{newest: n, by: time.Hour}}, time.Now())
	}
	if n := len(r.Steps); n != maxSteps || r.Steps[n-1].UpTo != 3*maxSteps-1 {
		t.Errorf("%d steps, and the last is %+v", n, r.Steps[n-1])
	}
}

func TestClocksThatAreOffByCenturiesDoNotOverflow(t *testing.T) {
	const most, least = time.Duration(math.MaxInt64), time.Duration(math.MinInt64)
	for _, c := range [][3]time.Duration{ // two, and their sum
		{most, most, most}, {least, least, least}, {most, least, -1}, {most, 1, most}, {least, -1, least},
		{1, 2, 3}, {-1, -2, -3}, {0, 0, 0},
	} {
		if got := plus(c[0], c[1]); got != c[2] {
			t.Errorf("%d + %d = %d", c[0], c[1], got)
		}
	}
	if got := minus(most, -1); got != most {
		t.Errorf("%d", got)
	}
}
