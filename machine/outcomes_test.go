package machine_test

import (
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// Outcomes are counted and alerted on, so a hub that the device was never at is not one that it can have
// failed over from.
func TestAFirstConnectionIsNoOutcomeHoweverLongItTook(t *testing.T) {
	for _, strike := range []emulator.Injection{
		{
			Target: emulator.TargetDPS, Fault: emulator.DPSMisdirects,
			Params: emulator.Params{Hub: "192.0.2.1:8883", For: time.Minute},
		},
		{Target: "A", Fault: emulator.FIN, Params: emulator.Params{For: time.Minute}},
	} {
		bubble(t, nil, func(t *testing.T, w *world) {
			if err := w.cloud.Inject(strike.Target, strike.Fault, strike.Params); err != nil {
				t.Fatal(err)
			}
			w.connected()
			if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
				t.Fatal(err)
			}
			w.wantOutcome(0, observe.FailedOver, "A", "B") // the first there is
		})
	}
}

// A device that is restarted belongs to the hub that it remembers.
func TestADeviceFailsOverIfItsHubFailedWhileItWasOff(t *testing.T) {
	dir := t.TempDir()
	remembers := func(s *machine.Settings) { s.Storage.StateDir = dir }
	bubble(t, remembers, func(t *testing.T, w *world) {
		w.connected()
		if err := w.close(); err != nil {
			t.Error(err)
		}
		if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
			t.Fatal(err)
		}
		again := w.again(remembers)
		again.live()
		again.wantOutcome(0, observe.FailedOver, "A", "B")
	})
}

func TestTransitionsSayWhatTheyMeanForTheConnection(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
			t.Fatal(err)
		}
		w.wantOutcome(0, observe.FailedOver, "A", "B")
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.records {
			want := map[string]observe.Phase{
				"Connected": observe.Connected, "Failover": observe.Disconnected, "Closing": observe.Closing,
			}[r.To]
			if r.Phase != want {
				t.Errorf("%q has the phase %q, want %q", r.Message, r.Phase, want)
			}
		}
	})
}
