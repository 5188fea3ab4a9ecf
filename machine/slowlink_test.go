package machine_test

import (
	"fmt"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// TCP connects in time, but TLS and DPS's answers take longer than a device waits at first.
func TestADeviceOnAVerySlowLinkLearnsHowLongItMustWait(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.network.SetLatency(2 * time.Second)
		for _, on := range []string{emulator.TargetDPS, "A", "B"} {
			w.must(w.cloud.Inject(on, emulator.Slow, emulator.Params{Rate: 200}))
		}
		w.live()
		began := time.Now()
		from := w.awaitState(machine.Connected, 0)
		t.Logf("it connected after %v", time.Since(began))
		w.send()
		w.delivered("A", from)
		w.must(w.close())
		w.wantNothingLost()
	})
}

// Each packet takes a second each way, or half of it, and 4 kB pass in a second, as over a satellite or in a cell with
// many others.
func TestADeviceOnASlowLinkConnectsStaysAndDelivers(t *testing.T) {
	for _, delay := range []time.Duration{500 * time.Millisecond, time.Second} {
		for _, rate := range []int{1000, 4000} {
			t.Run(fmt.Sprint(delay, " and ", rate, " bytes a second"), func(t *testing.T) {
				bubble(t, nil, func(t *testing.T, w *world) {
					w.network.SetLatency(delay)
					for _, on := range []string{emulator.TargetDPS, "A", "B"} {
						w.must(w.cloud.Inject(on, emulator.Slow, emulator.Params{Rate: rate}))
					}
					w.live()
					began := time.Now()
					from := w.awaitState(machine.Connected, 0)
					if took := time.Since(began); took > time.Minute {
						t.Errorf("it connected after %v", took)
					}
					stop := w.sending(10 * time.Second)
					w.delivered("A", from)
					time.Sleep(30 * time.Minute)
					stop()
					w.mu.Lock()
					for _, r := range w.records[from:] {
						if r.Kind == observe.Transition && r.Event == string(machine.Lost) {
							t.Errorf("%s: %s", r.Message, r.Error)
						}
					}
					w.mu.Unlock()
					w.must(w.cloud.KillHub("A", emulator.RST, emulator.WithMove))
					moved := w.count()
					w.send()
					w.delivered("B", moved)
					w.must(w.close())
					w.wantNothingLost()
				})
			})
		}
	}
}
