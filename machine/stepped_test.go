package machine_test

import (
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

const day = 24 * time.Hour

// clocked is a test of a device whose wall clock is off by so much and looks as if it was set, in a bubble. The machine sleeps when
// the test says so.
func clocked(t *testing.T, off time.Duration, change func(*machine.Settings), test func(*testing.T, *world, *wallClock)) {
	t.Helper()
	var wall wallClock
	wall.jump(off)
	bubble(t, func(s *machine.Settings) {
		s.Policy = machine.Policy{}
		s.Link.Now, s.ClockFloor = wall.now, time.Now().AddDate(-1, 0, 0)
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
					s.StateDir, s.InMemory, s.Limits.Age = t.TempDir(), inMemory, day
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

func TestReadingsThatAClockDatedWhichOnlyLookedRightAreDatedAnewWhenItIsSet(t *testing.T) {
	for name, off := range map[string]time.Duration{"it was behind": -3 * day, "it was ahead": 3 * day, "by three seconds": -3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			clocked(t, off, func(s *machine.Settings) { s.StateDir = t.TempDir() }, func(t *testing.T, w *world, wall *wallClock) {
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

// refusals are ways in which a wrong clock keeps a device from its hub, until it rests for long.
var refusals = map[string]struct {
	off  time.Duration
	weak func(w *world)
}{
	"certificates are not valid yet":     {-20 * 365 * day, nil},
	"certificates have expired":          {200 * 365 * day, nil},
	"DPS refuses the token":              {-2 * time.Hour, nil},
	"DPS answers 401, as it seems to it": {0, func(w *world) { w.strike(emulator.OnDPS, emulator.DPSUnauthorized, emulator.Params{}) }},
}

func TestWhatFailedBecauseOfTheClockIsTriedAgainAtOnceWhenItIsSet(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			clocked(t, c.off, func(s *machine.Settings) { s.Rand = func() float64 { return 0.99 } }, func(t *testing.T, w *world, wall *wallClock) {
				if c.weak != nil {
					c.weak(w)
				}
				w.live()
				time.Sleep(time.Hour)
				if s := w.device.State(); s == machine.Connected {
					t.Fatal("the clock does no harm")
				}
				w.awaitRest()
				from := w.count()
				if c.weak != nil {
					w.cloud.Heal(emulator.OnDPS, emulator.DPSUnauthorized)
					wall.jump(time.Hour)
				} else {
					wall.offset.Store(0)
				}
				time.Sleep(8 * time.Second)
				if s := w.device.State(); s != machine.Connected {
					t.Errorf("8 seconds after the clock was set the device is %s: %v", s, w.path(from))
				}
			})
		})
	}
}

// awaitRest waits until the device has just begun to wait for half a minute or more.
func (w *world) awaitRest() {
	w.t.Helper()
	for from, began := w.count(), time.Now(); time.Since(began) < 20*time.Minute; time.Sleep(time.Second) {
		w.mu.Lock()
		waits := slices.ContainsFunc(w.records[from:], func(r machine.Record) bool {
			return r.Kind == observe.Waiting && r.Next.Sub(r.Time) > 30*time.Second
		})
		w.mu.Unlock()
		if waits {
			return
		}
	}
	w.t.Fatal("the device waits no longer than half a minute")
}

// The device has an assignment: DPS's refusal keeps it from asking where it belongs now, and hub A does not want it any more.
func TestARefusalOfDPSIsForgottenWhenTheClockIsSet(t *testing.T) {
	clocked(t, 0, func(s *machine.Settings) { s.Rand = func() float64 { return 0.99 } }, func(t *testing.T, w *world, wall *wallClock) {
		w.connected()
		time.Sleep(time.Minute)
		wall.jump(-2 * time.Hour)
		w.cloud.MoveDevice(deviceID, "B")
		time.Sleep(time.Hour)
		w.awaitRest()
		from := w.count()
		wall.offset.Store(0)
		time.Sleep(8 * time.Second)
		if s := w.device.State(); s != machine.Connected {
			t.Errorf("8 seconds after the clock was set the device is %s: %v", s, w.path(from))
		}
	})
}

func TestWhatTheClockHasNotCausedIsWaitedOutAlsoWhenItIsSet(t *testing.T) {
	for name, fault := range map[string]emulator.Fault{
		"DPS throttles": emulator.DPSThrottles, "the enrollment is disabled": emulator.DPSDisabled, "DPS is down": emulator.FIN,
	} {
		t.Run(name, func(t *testing.T) {
			clocked(t, 0, func(s *machine.Settings) { s.Rand = func() float64 { return 0.99 } }, func(t *testing.T, w *world, wall *wallClock) {
				w.strike(emulator.OnDPS, fault, emulator.Params{})
				w.live()
				time.Sleep(time.Hour)
				w.awaitRest()
				from := w.count()
				wall.jump(time.Minute)
				time.Sleep(20 * time.Second)
				w.wantPath(from)
			})
		})
	}
}

func TestAClockThatJumpsAboutMakesNoStormAtDPS(t *testing.T) {
	clocked(t, 0, nil, func(t *testing.T, w *world, wall *wallClock) {
		w.strike(emulator.OnDPS, emulator.DPSUnauthorized, emulator.Params{})
		w.live()
		time.Sleep(time.Hour)
		from := w.count()
		for range 720 {
			wall.jump(time.Minute)
			time.Sleep(10 * time.Second)
		}
		tries := 0
		for _, s := range w.path(from) {
			if s == string(machine.Provisioning) {
				tries++
			}
		}
		if tries > 250 {
			t.Errorf("%d attempts in two hours", tries)
		}
		if n := len(w.clockRecords(from)); n > 720 {
			t.Errorf("%d records", n)
		}
	})
}

// By the clock as it is now, the token that the device uses ends in three minutes.
func TestATokenThatNearsItsEndByAClockThatWasSetIsRenewedAtOnce(t *testing.T) {
	clocked(t, -57*time.Minute, nil, func(t *testing.T, w *world, wall *wallClock) {
		w.connected()
		time.Sleep(10 * time.Second) // far less than a tenth of its life
		from := w.count()
		wall.offset.Store(0)
		time.Sleep(6 * time.Second)
		w.wantPath(from, machine.Connecting, machine.Connected)
		time.Sleep(30 * time.Minute)
		w.wantPath(from, machine.Connecting, machine.Connected)
	})
}

// sleeper is a machine that sleeps: the wall clock goes on.
type sleeper struct {
	slept atomic.Int64
	wall  *wallClock
	known bool
}

func (s *sleeper) asleep() (time.Duration, bool) {
	if !s.known {
		return 0, false
	}
	return time.Duration(s.slept.Load()), true
}

func (s *sleeper) sleep(d time.Duration) {
	s.slept.Add(int64(d))
	s.wall.jump(d)
}

// sleeping is a test of a device on a machine that sleeps, and whose clock is off by so much.
func sleeping(t *testing.T, off time.Duration, known bool, change func(*machine.Settings), test func(*testing.T, *world, *sleeper)) {
	clocked(t, off, change, func(t *testing.T, w *world, wall *wallClock) {
		s := &sleeper{wall: wall, known: known}
		w.device.SetAsleep(s.asleep)
		test(t, w, s)
	})
}

func TestSleepIsNoStepOfTheClock(t *testing.T) {
	sleeping(t, 0, true, nil, func(t *testing.T, w *world, s *sleeper) {
		at, id := time.Now(), w.take(machine.Reading{})
		s.sleep(8 * time.Hour)
		w.live()
		time.Sleep(time.Minute)
		w.wantCreated(id, at, false)
		w.wantClockRecords(0)
	})
}

// The machine sleeps for eight hours, and the clock, which was an hour behind, is set when it wakes.
func TestAStepDuringSleepIsToldApartFromIt(t *testing.T) {
	sleeping(t, -time.Hour, true, nil, func(t *testing.T, w *world, s *sleeper) {
		at, id := time.Now(), w.take(machine.Reading{})
		s.sleep(8 * time.Hour)
		s.wall.jump(time.Hour)
		w.live()
		time.Sleep(time.Minute)
		w.wantCreated(id, at, true)
		w.wantClockRecords(0, "the clock was set 1 h 0 min ahead")
	})
}

func TestReadingsGrowOldWhileTheMachineSleeps(t *testing.T) {
	for where, inMemory := range map[string]bool{"on the disk": false, "in memory": true} {
		t.Run(where, func(t *testing.T) {
			sleeping(t, 0, true, func(s *machine.Settings) {
				s.StateDir, s.InMemory, s.Limits.Age = t.TempDir(), inMemory, day
			}, func(t *testing.T, w *world, s *sleeper) {
				old := w.take(machine.Reading{})
				s.sleep(25 * time.Hour)
				w.send()
				w.connected()
				w.await("the old one is dropped", 0, func(r machine.Record) bool { return r.Kind == observe.Dropped && r.ID == old })
			})
		})
	}
}

func TestAWaitIsOverWhenTheMachineHasSleptThroughIt(t *testing.T) {
	sleeping(t, 0, true, func(s *machine.Settings) { s.Rand = func() float64 { return 0.99 } }, func(t *testing.T, w *world, s *sleeper) {
		w.strike(emulator.OnDPS, emulator.DPSDisabled, emulator.Params{})
		w.live()
		time.Sleep(time.Hour)
		w.awaitRest()
		w.cloud.Heal(emulator.OnDPS, emulator.DPSDisabled)
		s.sleep(30 * time.Minute)
		time.Sleep(8 * time.Second)
		if state := w.device.State(); state != machine.Connected {
			t.Errorf("8 seconds after it woke the device is %s", state)
		}
	})
}

// Where the system does not tell how long the machine slept, dates that may be right stay as they are.
func TestAClockThatMovesAheadWhereSleepIsNotKnownChangesNoDate(t *testing.T) {
	aged := func(s *machine.Settings) { s.StateDir, s.Limits.Age = t.TempDir(), day }
	sleeping(t, 0, false, aged, func(t *testing.T, w *world, s *sleeper) {
		at, id := time.Now(), w.take(machine.Reading{})
		s.sleep(3 * day)
		w.live()
		time.Sleep(time.Minute)
		w.wantCreated(id, at, false)
		w.wantNothingDropped()
		w.wantClockRecords(0, "the clock was set 3 d 0 h ahead, or this machine has slept")
	})
}

// When a clock is set, in a test of a restart.
const (
	inThisRun = iota
	meanwhile
	inTheNextRun
)

// restarted is a test of a device that takes two readings, while its clock is off by so much and DPS cannot be reached, and another
// one at its end. The next device delivers them; the clock is set at some time.
func restarted(t *testing.T, off time.Duration, set int, test func(next *world, ids []string, at time.Time)) {
	dir := t.TempDir()
	clocked(t, off, func(s *machine.Settings) { s.StateDir, s.Limits.Age = dir, day }, func(t *testing.T, w *world, wall *wallClock) {
		floor := time.Now().AddDate(-1, 0, 0)
		right := func(now int) {
			if now == set {
				wall.offset.Store(0)
			}
		}
		w.strike(emulator.OnDPS, emulator.FIN, emulator.Params{})
		w.live()
		at, ids := time.Now(), []string{w.take(machine.Reading{}), w.take(machine.Reading{})}
		time.Sleep(10 * time.Second)
		right(inThisRun)
		w.send()
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		w.cloud.Heal(emulator.OnDPS, emulator.FIN)
		right(meanwhile)
		next := w.again(func(s *machine.Settings) {
			s.StateDir, s.Limits.Age, s.Link.Now, s.ClockFloor = dir, day, wall.now, floor
		})
		next.device.SetAsleep(func() (time.Duration, bool) { return 0, true })
		next.taken = w.taken
		right(inTheNextRun)
		next.connected()
		next.close()
		next.wantNothingLost()
		next.wantNothingDropped()
		test(next, ids, at)
	})
}

func TestAStepThatAnEarlierRunHasSeenCorrectsWhatItTookBefore(t *testing.T) {
	for name, off := range map[string]time.Duration{"it was behind": -3 * day, "it was ahead": 3 * day, "it was not set": -30 * 365 * day} {
		t.Run(name, func(t *testing.T) {
			restarted(t, off, inThisRun, func(next *world, ids []string, at time.Time) {
				for _, id := range ids {
					next.wantCreated(id, at, true)
				}
				next.wantCreated(next.taken[2], at.Add(10*time.Second), false)
			})
		})
	}
}

func TestAStepCorrectsWhatAnEarlierRunTookSinceTheMachineWasStarted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says whether the machine was started again")
	}
	restarted(t, -3*day, inTheNextRun, func(next *world, ids []string, at time.Time) {
		for _, id := range ids {
			next.wantCreated(id, at, true)
		}
	})
}

// How long they were pending, nobody knows.
func TestReadingsThatAnEarlierRunTookByAClockThatWasNotSetAreNotTooOld(t *testing.T) {
	restarted(t, -30*365*day, meanwhile, func(next *world, ids []string, at time.Time) {
		for _, id := range ids {
			next.wantCreated(id, at.Add(10*time.Second), true) // as well as it is known
		}
	})
}

// The clock was set an hour before DPS refuses the device, and has nothing to do with it.
func TestAClockThatWasSetBeforeAnAttemptIsNoReasonToTryAgainAtOnce(t *testing.T) {
	clocked(t, 0, func(s *machine.Settings) { s.Rand = func() float64 { return 0.99 } }, func(t *testing.T, w *world, wall *wallClock) {
		w.connected()
		wall.jump(time.Minute)
		time.Sleep(time.Hour)
		w.strike(emulator.OnDPS, emulator.DPSUnauthorized, emulator.Params{})
		w.strike("A", emulator.Reject, emulator.Params{})
		from := w.count()
		w.strike("A", emulator.FIN, emulator.Params{For: time.Second})
		w.awaitState(machine.Provisioning, from)
		w.awaitRest() // as it does without
		tries := 0
		for _, s := range w.path(from) {
			if s == string(machine.Provisioning) {
				tries++
			}
		}
		if tries > 1 {
			t.Errorf("DPS was asked %d times before a long wait", tries)
		}
	})
}
