package machine_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// onSockets is a test over real sockets that takes long, and so runs with -soak only: -runs times, as many at
// once as -parallel says. test returns how long what it is about took.
func onSockets(t *testing.T, test func(t *testing.T, w *world) time.Duration) {
	t.Helper()
	if !*soak {
		t.Skip("takes long over real sockets: -soak runs it")
	}
	took := make([]time.Duration, *runs)
	t.Cleanup(func() { // when the parallel runs are over
		slices.Sort(took)
		at := func(share float64) time.Duration {
			return took[int(math.Ceil(share*float64(len(took))))-1].Round(time.Millisecond)
		}
		t.Logf("%d runs: least %v, median %v, p99 %v, most %v", len(took), took[0].Round(time.Millisecond), at(0.5),
			at(0.99), at(1))
	})
	for i := range took {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			// Below the ports that systems give away: else another run's cloud may take one while this cloud's
			// DPS or hub is down.
			w := newWorld(t, false, emulator.Config{Port: 21_000 + 3*i}, nil)
			w.live()
			stop := w.sending(100 * time.Millisecond)
			w.delivered("A", w.awaitState(machine.Connected, 0))
			w.hold()
			took[i] = test(t, w)
			stop()
			if err := w.close(); err != nil {
				t.Errorf("close: %v", err)
			}
			w.wantNothingLost()
		})
	}
}

func TestAHalfOpenConnectionOverSocketsIsLeftInTime(t *testing.T) {
	for _, how := range []emulator.Fault{emulator.Silence, emulator.BlackHole} {
		t.Run(string(how), func(t *testing.T) {
			onSockets(t, func(t *testing.T, w *world) time.Duration {
				from, struck := w.count(), time.Now()
				if err := w.cloud.KillHub("A", how, emulator.WithMove); err != nil {
					t.Fatal(err)
				}
				w.delivered("B", from)
				took := time.Since(struck)
				if most := 12*time.Second + 2*time.Second + time.Second + 300*time.Millisecond; took > most {
					t.Errorf("the next reading at hub B came after %v", took)
				}
				w.wantPath(from, overThere...)
				return took
			})
		})
	}
}

func TestNothingIsLostIfDPSFailsForTwentySecondsWhileTheHubFails(t *testing.T) {
	for _, fault := range []emulator.Fault{emulator.FIN, emulator.DPSThrottles, emulator.DPSUnavailable} {
		t.Run(string(fault), func(t *testing.T) {
			onSockets(t, func(t *testing.T, w *world) time.Duration {
				from, struck := w.count(), time.Now()
				if err := w.cloud.Inject(emulator.TargetDPS, fault,
					emulator.Params{For: 20 * time.Second}); err != nil {
					t.Fatal(err)
				}
				if err := w.cloud.KillHub("A", emulator.RST, emulator.WithMove); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Second)
				w.delivered("B", from)
				w.wantOutcome(from, observe.FailedOver, "A", "B")
				return time.Since(struck)
			})
		})
	}
}

func TestADeviceReconnectsToAHubThatIsAwayForThreeSeconds(t *testing.T) {
	onSockets(t, func(t *testing.T, w *world) time.Duration {
		from, struck := w.count(), time.Now()
		if err := w.cloud.KillHub("A", emulator.FIN); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if err := w.cloud.ReviveHub("A"); err != nil {
			t.Fatal(err)
		}
		w.delivered("A", w.awaitState(machine.Connected, from))
		w.wantOutcome(from, observe.Reconnected, "A", "A")
		return time.Since(struck)
	})
}
