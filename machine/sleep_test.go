package machine_test

import (
	"sync/atomic"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

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
func sleeping(
	t *testing.T, off time.Duration, known bool, change func(*machine.Settings),
	test func(*testing.T, *world, *sleeper),
) {
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
func TestAStepDuringSleepIsDistinguishedFromIt(t *testing.T) {
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
				s.Storage.StateDir, s.Storage.InMemory, s.Storage.Limits.Age = t.TempDir(), inMemory, day
			}, func(t *testing.T, w *world, s *sleeper) {
				old := w.take(machine.Reading{})
				s.sleep(25 * time.Hour)
				w.send()
				w.connected()
				w.await("a drop", 0, func(r machine.Record) bool { return r.Kind == observe.Dropped && r.ID == old })
			})
		})
	}
}

func TestABackOffEndsWhileTheMachineSleeps(t *testing.T) {
	sleeping(t, 0, true, unlucky, func(t *testing.T, w *world, s *sleeper) {
		w.strike(emulator.TargetDPS, emulator.DPSDisabled, emulator.Params{})
		w.live()
		time.Sleep(time.Hour)
		w.awaitRest()
		w.cloud.Clear(emulator.TargetDPS, emulator.DPSDisabled)
		s.sleep(30 * time.Minute)
		time.Sleep(8 * time.Second)
		if state := w.device.State(); state != machine.Connected {
			t.Errorf("8 seconds after it woke the device is %s", state)
		}
	})
}

// Where the system does not tell how long the machine slept, dates that may be right stay as they are.
func TestAClockThatMovesAheadWhereSleepIsNotKnownChangesNoDate(t *testing.T) {
	aged := func(s *machine.Settings) { s.Storage.StateDir, s.Storage.Limits.Age = t.TempDir(), day }
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
