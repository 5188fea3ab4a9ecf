package machine_test

import (
	"fmt"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// A hub whose quota for the day is used up lets the device in and ends the session at the first reading. When
// the next day begins, everything arrives, also if nothing new is sent any more.
func TestAHubThatAcceptsNoReadingForHoursLosesNone(t *testing.T) {
	slow.Test(t)
	for _, readings := range []int{1, 40} {
		for hours := 1; hours <= 3; hours++ {
			t.Run(fmt.Sprint(readings, " readings, ", hours, " hours"), func(t *testing.T) {
				bubble(t, func(s *machine.Settings) { s.Storage.StateDir = t.TempDir() }, func(t *testing.T, w *world) {
					w.connected()
					w.strikeHub(emulator.Poison, emulator.Params{Mark: "quota"})
					for range readings {
						w.sendWith(map[string]string{"quota": "used up"})
					}
					time.Sleep(time.Duration(hours) * time.Hour)
					if err := w.cloud.Clear("A", emulator.Poison); err != nil {
						t.Fatal(err)
					}
					time.Sleep(2 * time.Hour)
					w.wantNothingLost()
					if w.warnings("used up its quota") == "" {
						t.Error("no warning names the quota")
					}
					if n, _ := w.device.Outbox().Pending(); n > 0 {
						t.Errorf("%d readings are still pending", n)
					}
					w.mu.Lock()
					defer w.mu.Unlock()
					for _, r := range w.records {
						if r.Kind == observe.Dropped {
							t.Errorf("%s: %s", r.Message, r.Error)
						}
					}
				})
			})
		}
	}
}

func (w *world) strikeHub(fault emulator.Fault, p emulator.Params) {
	w.t.Helper()
	if err := w.cloud.Inject("A", fault, p); err != nil {
		w.t.Fatal(err)
	}
}
