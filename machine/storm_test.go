package machine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
)

// An hour of faults at random, several at a time, with moves, renewals and all that a device does between.
// When they are over the device recovers by itself, and nothing is missing. -soak runs a hundred such hours.
func TestARandomStormLosesNothing(t *testing.T) {
	slow.Test(t)
	for seed := range scaled(5, 100) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { storm(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
		})
	}
}

func storm(t *testing.T, r *rand.Rand) {
	w := newWorld(t, true, emulator.Config{}, func(s *machine.Settings) {
		s.Timing.TokenLife = time.Minute << r.IntN(6)
	})
	w.live()
	stop := w.sending(time.Second)
	for end := time.Now().Add(time.Hour); time.Now().Before(end); {
		time.Sleep(time.Duration(r.Int64N(int64(time.Minute))))
		switch r.IntN(8) {
		case 0:
			_ = w.cloud.MoveDevice(deviceID, []string{"A", "B"}[r.IntN(2)]) // unknown to the cloud at first
		case 1:
			_ = w.device.Fire(t.Context(), machine.Renew) // legal only in Connected
		case 2:
			_ = w.device.Report(t.Context(), map[string]any{fmt.Sprint("r", r.IntN(5)): r.IntN(100)})
		case 3:
			_ = w.cloud.SetDesired(deviceID, map[string]any{fmt.Sprint("d", r.IntN(5)): r.IntN(100)})
		default:
			w.strikeAtRandom(r)
		}
	}
	for _, target := range []string{emulator.TargetDPS, "A", "B"} {
		if err := w.cloud.Clear(target, ""); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Minute) // longer than the longest rest
	stop()
	if s := w.device.State(); s != machine.Connected {
		t.Errorf("twenty minutes after the storm the device is %s", s)
	}
	if n := len(w.path(0)); n > 1500 {
		t.Errorf("%d transitions", n)
	}
	if err := w.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	w.wantNothingLost()
}

// strikeAtRandom strikes DPS or a hub with some fault for up to two minutes.
func (w *world) strikeAtRandom(r *rand.Rand) {
	w.t.Helper()
	target := []string{emulator.TargetDPS, "A", "B"}[r.IntN(3)]
	on := emulator.TargetHub
	if target == emulator.TargetDPS {
		on = emulator.TargetDPS
	}
	faults := slices.DeleteFunc(emulator.Faults(),
		func(f emulator.FaultInfo) bool { return !slices.Contains(f.Targets, on) })
	fault := faults[r.IntN(len(faults))].Name
	params := parameters[fault]
	params.For = time.Duration(r.Int64N(int64(2 * time.Minute)))
	if err := w.cloud.Inject(target, fault, params); err != nil {
		w.t.Fatal(err)
	}
}
