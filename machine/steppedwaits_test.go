package machine_test

import (
	"slices"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// unlucky is a device that draws the longest waits.
func unlucky(s *machine.Settings) { s.Rand = func() float64 { return 0.99 } }

// refusals are ways in which a wrong clock keeps a device from its hub, until it rests for long.
var refusals = map[string]struct {
	off  time.Duration
	weak func(w *world)
}{
	"certificates are not valid yet": {-20 * 365 * day, nil},
	"certificates have expired":      {200 * 365 * day, nil},
	"DPS refuses the token":          {-2 * time.Hour, nil},
	"DPS answers 401, as it seems to it": {0, func(w *world) {
		w.strike(emulator.TargetDPS, emulator.DPSUnauthorized, emulator.Params{})
	}},
}

func TestAnAttemptThatFailedBecauseOfTheClockIsRepeatedWhenItIsSet(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			clocked(t, c.off, unlucky, func(t *testing.T, w *world, wall *wallClock) {
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
					w.cloud.Clear(emulator.TargetDPS, emulator.DPSUnauthorized)
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

// The device has an assignment: DPS's refusal keeps it from asking where it belongs now, and hub A does not
// want it any more.
func TestARefusalOfDPSIsForgottenWhenTheClockIsSet(t *testing.T) {
	clocked(t, 0, unlucky, func(t *testing.T, w *world, wall *wallClock) {
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

func TestABackOffThatTheClockDidNotCauseGoesOnWhenItIsSet(t *testing.T) {
	for name, fault := range map[string]emulator.Fault{
		"DPS throttles": emulator.DPSThrottles, "the enrollment is disabled": emulator.DPSDisabled,
		"DPS is down": emulator.FIN,
	} {
		t.Run(name, func(t *testing.T) {
			clocked(t, 0, unlucky, func(t *testing.T, w *world, wall *wallClock) {
				w.strike(emulator.TargetDPS, fault, emulator.Params{})
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

func TestAClockThatIsSetAgainAndAgainDoesNotFloodDPS(t *testing.T) {
	clocked(t, 0, nil, func(t *testing.T, w *world, wall *wallClock) {
		w.strike(emulator.TargetDPS, emulator.DPSUnauthorized, emulator.Params{})
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

// The clock was set an hour before DPS refuses the device, and has nothing to do with it.
func TestAClockThatWasSetBeforeAnAttemptIsNoReasonToTryAgainAtOnce(t *testing.T) {
	clocked(t, 0, unlucky, func(t *testing.T, w *world, wall *wallClock) {
		w.connected()
		wall.jump(time.Minute)
		time.Sleep(time.Hour)
		w.strike(emulator.TargetDPS, emulator.DPSUnauthorized, emulator.Params{})
		w.strike("A", emulator.Reject, emulator.Params{})
		from := w.count()
		w.strike("A", emulator.FIN, emulator.Params{For: time.Second})
		w.awaitState(machine.Provisioning, from)
		time.Sleep(30 * time.Second) // the shortest rest after a refusal
		tries := 0
		for _, s := range w.path(from) {
			if s == string(machine.Provisioning) {
				tries++
			}
		}
		if tries > 1 {
			t.Errorf("DPS was asked %d times in half a minute", tries)
		}
	})
}
