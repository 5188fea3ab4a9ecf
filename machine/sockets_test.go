package machine_test

import (
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// onSockets is a test over real sockets that takes long, and so runs with -soak only, -runs times.
func onSockets(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	if !*soak {
		t.Skip("takes long over real sockets: -soak runs it")
	}
	for range *runs {
		t.Run("", func(t *testing.T) {
			w := newWorld(t, false, emulator.Config{}, nil)
			w.live()
			stop := w.sending(100 * time.Millisecond)
			w.delivered("A", w.awaitState(machine.Connected, 0))
			w.hold()
			test(t, w)
			stop()
			if err := w.close(); err != nil {
				t.Errorf("close: %v", err)
			}
			w.wantNothingLost()
		})
	}
}

func TestAHalfOpenLinkOverSocketsIsLeftInTime(t *testing.T) {
	onSockets(t, func(t *testing.T, w *world) {
		from, struck := w.count(), time.Now()
		if err := w.cloud.KillHub("A", emulator.Silence, emulator.WithMove); err != nil {
			t.Fatal(err)
		}
		w.delivered("B", from)
		took := time.Since(struck)
		if most := 12*time.Second + 2*time.Second + time.Second + 300*time.Millisecond; took > most {
			t.Errorf("the next reading at hub B came after %v", took)
		}
		w.wantPath(from, overThere...)
		t.Logf("over in %v", took)
	})
}

func TestDPSInTroubleForTwentySecondsWhileTheHubDiesLosesNothing(t *testing.T) {
	for _, fault := range []emulator.Fault{emulator.FIN, emulator.DPSThrottles, emulator.DPSUnavailable} {
		t.Run(string(fault), func(t *testing.T) {
			onSockets(t, func(t *testing.T, w *world) {
				from := w.count()
				if err := w.cloud.Strike(emulator.OnDPS, fault, emulator.Params{For: 20 * time.Second}); err != nil {
					t.Fatal(err)
				}
				if err := w.cloud.KillHub("A", emulator.RST, emulator.WithMove); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Second)
				w.delivered("B", from)
				w.wantOutcome(from, observe.FailedOver, "A", "B")
			})
		})
	}
}

func TestAHubThatIsAwayForThreeSecondsIsComeBackTo(t *testing.T) {
	onSockets(t, func(t *testing.T, w *world) {
		from := w.count()
		if err := w.cloud.KillHub("A", emulator.FIN); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if err := w.cloud.ReviveHub("A"); err != nil {
			t.Fatal(err)
		}
		w.delivered("A", w.awaitState(machine.Connected, from))
		w.wantOutcome(from, observe.Reconnected, "A", "A")
	})
}
