package machine_test

import (
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

func TestANetworkThatIsBackEndsTheWaiting(t *testing.T) {
	bubble(t, unlucky, func(t *testing.T, w *world) {
		w.connected()
		targets := []string{emulator.TargetDPS, "A", "B"}
		for _, target := range targets {
			w.must(w.cloud.Inject(target, emulator.BlackHole, emulator.Params{}))
		}
		time.Sleep(time.Hour)
		w.await("a long wait", w.count(), func(r machine.Record) bool {
			return r.Kind == observe.Waiting && r.Next.Sub(r.Time) > 10*time.Second
		})
		from := w.count()
		for _, target := range targets {
			w.must(w.cloud.Clear(target, emulator.BlackHole))
		}
		w.device.NetworkReturned()
		time.Sleep(2 * time.Second)
		if s := w.device.State(); s != machine.Connected {
			t.Errorf("2 s after the network was back the device is %s: %v", s, w.path(from))
		}
	})
}

func TestANetworkThatReturnsAgainAndAgainDoesNotFloodHubAndDPS(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		for _, target := range []string{emulator.TargetDPS, "A", "B"} {
			w.must(w.cloud.Inject(target, emulator.BlackHole, emulator.Params{}))
		}
		time.Sleep(time.Hour)
		from := w.count()
		for range 600 {
			time.Sleep(time.Second)
			w.device.NetworkReturned()
		}
		attempts := 0
		for _, s := range w.path(from) {
			if s == string(machine.Connecting) || s == string(machine.Provisioning) {
				attempts++
			}
		}
		if attempts > 200 { // both begin anew once a minute, with waits of 1 s and 2 s
			t.Errorf("%d attempts in ten minutes", attempts)
		}
		t.Logf("%d attempts in ten minutes", attempts)
	})
}
