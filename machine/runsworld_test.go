package machine_test

import (
	"runtime"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

// When a clock is set, in a test of a restart.
const (
	inThisRun = iota
	meanwhile
	inTheNextRun
)

// restarted is a test of a device that takes two readings, while its clock is off by so much and DPS cannot be
// reached, and another one at its end. The next device delivers them; the clock is set at some time.
func restarted(t *testing.T, off time.Duration, set int, test func(next *world, ids []string, at time.Time)) {
	dir := t.TempDir()
	kept := func(s *machine.Settings) { s.Storage.StateDir, s.Storage.Limits.Age = dir, day }
	clocked(t, off, kept, func(t *testing.T, w *world, wall *wallClock) {
		floor := time.Now().AddDate(-1, 0, 0)
		right := func(now int) {
			if now == set {
				wall.offset.Store(0)
			}
		}
		w.strike(emulator.TargetDPS, emulator.FIN, emulator.Params{})
		w.live()
		at, ids := time.Now(), []string{w.take(machine.Reading{}), w.take(machine.Reading{})}
		time.Sleep(10 * time.Second)
		right(inThisRun)
		w.send()
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		w.cloud.Clear(emulator.TargetDPS, emulator.FIN)
		right(meanwhile)
		next := w.again(func(s *machine.Settings) {
			s.Storage.StateDir, s.Storage.Limits.Age, s.Link.Now, s.Timing.ClockFloor = dir, day, wall.now, floor
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
	for name, off := range map[string]time.Duration{
		"it was behind": -3 * day, "it was ahead": 3 * day, "it was not set": -30 * 365 * day,
	} {
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
func TestReadingsOfAnEarlierRunWhoseClockWasNotSetAreNotTooOld(t *testing.T) {
	restarted(t, -30*365*day, meanwhile, func(next *world, ids []string, at time.Time) {
		for _, id := range ids {
			next.wantCreated(id, at.Add(10*time.Second), true) // as well as it is known
		}
	})
}

// The second run takes nothing, sees the clock set, and cannot send anything; the third does.
func TestAStepThatARunWithoutReadingsHasSeenIsKept(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says whether the machine was started again")
	}
	dir := t.TempDir()
	kept := func(s *machine.Settings) { s.Storage.StateDir = dir }
	clocked(t, -3*day, kept, func(t *testing.T, w *world, wall *wallClock) {
		floor := time.Now().AddDate(-1, 0, 0)
		w.strike(emulator.TargetDPS, emulator.FIN, emulator.Params{})
		next := func() *world {
			n := w.again(func(s *machine.Settings) {
				s.Storage.StateDir, s.Link.Now, s.Timing.ClockFloor = dir, wall.now, floor
			})
			n.device.SetAsleep(func() (time.Duration, bool) { return 0, true })
			n.live()
			return n
		}
		w.live()
		at, id := time.Now(), w.take(machine.Reading{})
		time.Sleep(10 * time.Second)
		w.close()
		second := next()
		wall.offset.Store(0)
		time.Sleep(10 * time.Second)
		second.close()
		w.cloud.Clear(emulator.TargetDPS, emulator.FIN)
		third := next()
		third.awaitState(machine.Connected, 0)
		third.close()
		third.wantCreated(id, at, true)
	})
}
