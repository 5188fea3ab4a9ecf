package machine_test

import (
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// The disk takes a minute for each assignment. Meanwhile the device works and fails over. The newest
// assignment is stored.
func TestADiskThatHangsDelaysNoFailover(t *testing.T) {
	state := t.TempDir()
	bubble(t, func(s *machine.Settings) { s.Storage.StateDir = state }, func(t *testing.T, w *world) {
		w.device.BeforeSaves(func() { time.Sleep(time.Minute) })
		w.connected()
		from, began := w.count(), time.Now()
		if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
			t.Fatal(err)
		}
		w.send()
		w.await("an outcome", from, func(r machine.Record) bool { return r.Kind == observe.Outcome })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the failover took %v", took)
		}
		time.Sleep(3 * time.Minute)
		if err := w.close(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(w.warnings("the disk has not taken"), "the disk has not taken"); n != 2 {
			t.Errorf("%d warnings of a slow disk, want 2", n)
		}
		again := w.again(func(s *machine.Settings) { s.Storage.StateDir = state })
		again.live()
		again.awaitState(machine.Connected, 0)
		if path := again.path(0); strings.Contains(strings.Join(path, " "), string(machine.Provisioning)) {
			t.Errorf("the assignment was not stored: %v", path)
		}
		if err := again.close(); err != nil {
			t.Error(err)
		}
	})
}
