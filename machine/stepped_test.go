package machine_test

import (
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

const day = 24 * time.Hour

// A clockTest is a test of a device whose wall clock somebody may set.
type clockTest func(*testing.T, *world, *wallClock)

// clocked is a test of a device whose wall clock is off by so much and looks as if it was set, in a bubble. The
// machine does not sleep.
func clocked(t *testing.T, off time.Duration, change func(*machine.Settings), test clockTest) {
	t.Helper()
	var wall wallClock
	wall.jump(off)
	bubble(t, func(s *machine.Settings) {
		s.Link.Now, s.Timing.ClockFloor = wall.now, time.Now().AddDate(-1, 0, 0)
		if change != nil {
			change(s)
		}
	}, func(t *testing.T, w *world) {
		w.device.SetAsleep(func() (time.Duration, bool) { return 0, true })
		test(t, w, &wall)
	})
}

// clockRecords are the records that the clock was set since record from.
func (w *world) clockRecords(from int) (messages []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records[from:] {
		if r.Kind == observe.Clock {
			messages = append(messages, r.Message)
		}
	}
	return messages
}

func (w *world) wantClockRecords(from int, want ...string) {
	w.t.Helper()
	if got := w.clockRecords(from); strings.Join(got, "; ") != strings.Join(want, "; ") {
		w.t.Errorf("the records of the clock are %q, want %q", got, want)
	}
}

func (w *world) wantNothingDropped() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		if r.Kind == observe.Dropped {
			w.t.Errorf("%s was dropped: %s", r.ID, r.Cause)
		}
	}
}

func TestReadingsAreNotTooOldBecauseTheClockIsSet(t *testing.T) {
	for name, off := range map[string]time.Duration{"it was behind": -3 * day, "it was ahead": 3 * day} {
		for where, inMemory := range map[string]bool{"on the disk": false, "in memory": true} {
			t.Run(name+", "+where, func(t *testing.T) {
				clocked(t, off, func(s *machine.Settings) {
					s.Storage.StateDir, s.Storage.InMemory, s.Storage.Limits.Age = t.TempDir(), inMemory, day
				}, func(t *testing.T, w *world, wall *wallClock) {
					for range 3 {
						w.send()
					}
					time.Sleep(2 * time.Second)
					wall.offset.Store(0)
					w.connected()
					w.send()
					w.close()
					w.wantNothingLost()
					w.wantNothingDropped()
				})
			})
		}
	}
}

func TestReadingsOfAWrongClockAreDatedAgainWhenItIsSet(t *testing.T) {
	for name, off := range map[string]time.Duration{
		"it was behind": -3 * day, "it was ahead": 3 * day, "by three seconds": -3 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			kept := func(s *machine.Settings) { s.Storage.StateDir = t.TempDir() }
			clocked(t, off, kept, func(t *testing.T, w *world, wall *wallClock) {
				given := w.take(machine.Reading{Taken: time.Now().Add(off)})
				at, before := time.Now(), w.take(machine.Reading{})
				time.Sleep(time.Minute)
				last, beforeToo := time.Now(), w.take(machine.Reading{})
				wall.offset.Store(0)
				after := w.take(machine.Reading{})
				time.Sleep(time.Minute)
				w.connected()
				w.close()
				w.wantNothingLost()
				w.wantCreated(given, at.Add(off), false)
				w.wantCreated(before, at, true)
				w.wantCreated(beforeToo, last, true)
				w.wantCreated(after, last, false)
			})
		})
	}
}

func TestAClockThatGoesWrongAndIsSetRightAgainChangesNoDate(t *testing.T) {
	clocked(t, 0, nil, func(t *testing.T, w *world, wall *wallClock) {
		at, right := time.Now(), w.take(machine.Reading{})
		time.Sleep(time.Minute)
		wall.jump(-2 * time.Hour)
		during, wrong := time.Now(), w.take(machine.Reading{})
		time.Sleep(time.Minute)
		wall.jump(2 * time.Hour)
		w.connected()
		w.wantCreated(right, at, false)
		w.wantCreated(wrong, during, true)
	})
}

func TestAClockThatIsSetIsRecordedOnceWithTheSize(t *testing.T) {
	clocked(t, -3*day, nil, func(t *testing.T, w *world, wall *wallClock) {
		w.live()
		time.Sleep(time.Minute)
		wall.jump(3 * day)
		time.Sleep(time.Hour)
		w.wantClockRecords(0, "the clock was set 3 d 0 h ahead")
		from := w.count()
		wall.jump(-90 * time.Minute)
		w.send() // sees it first
		time.Sleep(time.Hour)
		w.wantClockRecords(from, "the clock was set 1 h 30 min back")
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.records[from:] {
			if r.Kind == observe.Clock && (r.StepMS != -90*60_000 || r.Level != observe.Info) {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestSmallStepsOfTheClockChangeNothing(t *testing.T) {
	clocked(t, 0, nil, func(t *testing.T, w *world, wall *wallClock) {
		at, id := time.Now(), w.take(machine.Reading{})
		for range 30 {
			wall.jump(-1900 * time.Millisecond)
			time.Sleep(time.Second)
			w.send() // looks at the clock
		}
		w.connected()
		from := w.count()
		for range 100 {
			wall.jump(1900 * time.Millisecond)
			time.Sleep(6 * time.Second)
		}
		w.wantCreated(id, at, false)
		w.wantClockRecords(0)
		w.wantPath(from)
	})
}
