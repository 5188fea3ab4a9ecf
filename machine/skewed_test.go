package machine_test

import (
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// wantClock checks the lines about the wall clock since record from: there is one for each of want, which it contains.
func (w *world) wantClock(from int, want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var got []string
	for _, r := range w.records[from:] {
		if r.Kind == observe.Warning && strings.Contains(r.Error, "this machine's clock") {
			got = append(got, r.Error)
		}
	}
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.Contains(got[i], want[i])
	}
	if !ok {
		w.t.Errorf("the lines about the clock are %q, want %q", got, want)
	}
}

// skewed is a test of a device whose clock is off by so much, in a bubble.
func skewed(t *testing.T, off time.Duration, test func(*testing.T, *world, *wallClock)) {
	t.Helper()
	var wall wallClock
	wall.jump(off)
	bubble(t, func(s *machine.Settings) {
		s.Link.Now, s.Timing.ClockFloor = wall.now, time.Now().AddDate(-1, 0, 0)
	}, func(t *testing.T, w *world) { test(t, w, &wall) })
}

// recovers waits for as long as a device rests at most when DPS has refused it.
func (w *world) recovers() {
	w.t.Helper()
	time.Sleep(16 * time.Minute)
	if s := w.device.State(); s != machine.Connected {
		w.t.Errorf("16 minutes after the clock was set the device is %s", s)
	}
}

func TestAClockThatWasNeverSetIsNamedOncePerOutage(t *testing.T) {
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		w.live()
		time.Sleep(time.Hour)
		w.wantClock(0, "or more behind: it says 1970-01-01T00:00:")
		wall.offset.Store(0)
		w.recovers()
		from := w.count()
		wall.jump(time.Until(time.Unix(0, 0)))
		w.cloud.MoveDevice(deviceID, "B")
		time.Sleep(time.Hour)
		w.wantClock(from, "or more behind: it says 1970-01-01T00:0")
		wall.offset.Store(0)
		w.recovers()
	})
}

// Certificates may have been good for long, and so a clock that was never set can come as far as the token.
func TestAClockBeforeTheFloorIsNamedWhenTheTokenIsRefused(t *testing.T) {
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		wall.offset.Store(-int64(365 * 24 * time.Hour))
		w.live()
		time.Sleep(time.Hour)
		w.wantClock(0, "not set: it says 1999-01-01T00:0")
		wall.offset.Store(0)
		w.recovers()
	})
}

func TestASkewedClockIsNamedOnceWithItsDirectionAndSize(t *testing.T) {
	slow.Test(t)
	for name, c := range map[string]struct {
		off   time.Duration
		fault emulator.Fault // of DPS, by whose answer it shows
		says  string
	}{
		"ahead, and DPS throttles": {
			time.Hour, emulator.DPSThrottles, "1 h 0 min ahead: it says 2000-01-01T01:00:0",
		},
		"ahead, and DPS is unavailable": {time.Hour, emulator.DPSUnavailable, "1 h 0 min ahead"},
		"ahead, and DPS answers 401":    {time.Hour, emulator.DPSUnauthorized, "1 h 0 min ahead"},
		"behind, and DPS throttles": {
			-59 * time.Minute, emulator.DPSThrottles, "59 min 0 s behind: it says 1999-12-31T23:01:0",
		},
		"behind, and DPS answers 401": {-59 * time.Minute, emulator.DPSUnauthorized, "59 min 0 s behind"},
		"behind, and the token is older": {
			-time.Hour, "", "more than five minutes off, or else the key is wrong: the device's token is refused, " +
				"and the clock says 1999-12-31T23:00:0",
		},
		"behind, and the failed one says": {-59 * time.Minute, emulator.DPSFails, "59 min 0 s or more behind"},
	} {
		t.Run(name, func(t *testing.T) {
			skewed(t, c.off, func(t *testing.T, w *world, wall *wallClock) {
				if c.fault != "" {
					w.strike(emulator.TargetDPS, c.fault, emulator.Params{})
				}
				w.live()
				time.Sleep(time.Hour)
				w.wantClock(0, c.says)
				wall.offset.Store(0)
				if c.fault != "" {
					w.cloud.Clear(emulator.TargetDPS, c.fault)
				}
				w.recovers()
				w.wantClock(0, c.says)
			})
		})
	}
}

func TestASkewedClockIsNamedAgainInTheNextOutage(t *testing.T) {
	const says = "1 h 0 min ahead"
	skewed(t, time.Hour, func(t *testing.T, w *world, _ *wallClock) {
		w.strike(emulator.TargetDPS, emulator.DPSThrottles, emulator.Params{For: time.Minute})
		w.live()
		time.Sleep(time.Hour)
		w.wantClock(0, says)
		for _, hub := range []string{"A", "B"} {
			w.strike(hub, emulator.FIN, emulator.Params{For: time.Minute})
		}
		w.strike(emulator.TargetDPS, emulator.DPSThrottles, emulator.Params{For: time.Minute})
		time.Sleep(time.Hour)
		w.wantClock(0, says, says)
	})
}

// The device is known to both, and then its clock goes wrong.
func TestTheClockIsSuspectedIfTheHubAndDPSRefuseTheToken(t *testing.T) {
	skewed(t, 0, func(t *testing.T, w *world, wall *wallClock) {
		w.connected()
		time.Sleep(time.Minute)
		wall.jump(-2 * time.Hour)
		w.strike("A", emulator.FIN, emulator.Params{For: time.Second})
		time.Sleep(time.Hour)
		w.wantClock(0, "more than five minutes off")
		wall.offset.Store(0)
		w.recovers()
		w.wantClock(0, "more than five minutes off")
	})
}

func TestAClockThatIsSetToAWrongTimeIsNamedAgain(t *testing.T) {
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		w.live()
		time.Sleep(time.Hour)
		wall.offset.Store(int64(-3 * time.Hour))
		time.Sleep(time.Hour)
		w.wantClock(0, "1970-01-01T00:00:00Z", "not set: it says 1999-12-31T22:")
	})
}

// The token is good for as long as the clock is behind, and nothing fails yet. Readings are off, all the same.
func TestAClockThatIsBehindIsNamedEvenIfItDoesNoHarm(t *testing.T) {
	skewed(t, -40*time.Minute, func(t *testing.T, w *world, wall *wallClock) {
		w.connected()
		w.wantClock(0, "40 min 0 s or more behind")
	})
}

func TestCertificatesAreReadAgainstTheClock(t *testing.T) {
	for fault, says := range map[emulator.Fault]string{
		emulator.CertificateEarly:   "or more behind: it says 2000-01-01T00:0",
		emulator.CertificateExpired: "or more ahead, or else the certificate of ",
	} {
		skewed(t, 0, func(t *testing.T, w *world, _ *wallClock) {
			for _, on := range []string{emulator.TargetDPS, "A", "B"} {
				w.strike(on, fault, emulator.Params{})
			}
			w.live()
			time.Sleep(time.Hour)
			w.wantClock(0, says)
		})
	}
}

func TestAClockThatIsRightIsNotBlamed(t *testing.T) {
	for name, trouble := range map[string]func(w *world){
		"the cloud has moved the device": func(w *world) { w.cloud.MoveDevice(deviceID, "B") },
		"its hub has died":               func(w *world) { w.cloud.KillHub("A", emulator.RST, emulator.WithMove) },
		"its token is refused by both, and DPS says what time it is": func(w *world) {
			w.strike(emulator.TargetDPS, emulator.DPSUnauthorized, emulator.Params{})
			w.strike("A", emulator.Reject, emulator.Params{})
			w.strike("A", emulator.FIN, emulator.Params{For: time.Second})
		},
	} {
		t.Run(name, func(t *testing.T) {
			skewed(t, 0, func(t *testing.T, w *world, _ *wallClock) {
				w.connected()
				time.Sleep(time.Minute)
				trouble(w)
				time.Sleep(time.Hour)
				w.wantClock(0)
			})
		})
	}
}

func TestWhenOnlyTheTokenIsRefusedTheKeyIsSuspectedToo(t *testing.T) {
	skewed(t, 0, func(t *testing.T, w *world, _ *wallClock) {
		w.strike(emulator.TargetDPS, emulator.Reject, emulator.Params{})
		w.live()
		time.Sleep(time.Hour)
		w.wantClock(0, "or else the key is wrong: the device's token is refused, "+
			"and the clock says 2000-01-01T00:00:00Z")
	})
}
