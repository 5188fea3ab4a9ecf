package machine_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/provisioning"
)

const allocated = `{"gateway":"the-secret-word"}`

func isPayload(r machine.Record) bool { return r.Kind == observe.Payload }

// wantUntold says that no record holds a text.
func (w *world) wantUntold(text string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		if line, err := json.Marshal(r); err != nil || strings.Contains(string(line), text) {
			w.t.Errorf("%s, %v", line, err)
		}
	}
}

func TestAProgramReadsThePayloadThatDPSReturned(t *testing.T) {
	for _, inMemory := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			kept := func(s *machine.Settings) { s.Storage.StateDir, s.Storage.InMemory = dir, inMemory }
			w := newWorld(t, true, emulator.Config{AllocationPayload: allocated}, kept)
			if a := w.device.Assignment(); a != (machine.Assignment{}) {
				t.Errorf("before it ran: %+v", a)
			}
			w.live()
			i := w.await("the payload", 0, isPayload)
			w.awaitState(machine.Connected, 0)
			r := w.records[i]
			if r.Level != observe.Info || r.Bytes != len(allocated) || r.Hub != w.cloud.Hub("A") ||
				r.Message != fmt.Sprintf("DPS returned a payload of %d bytes with the assignment", len(allocated)) {
				t.Errorf("the record is %+v", r)
			}
			if a := w.device.Assignment(); a.Payload != allocated || a.Hub != w.cloud.Hub("A") ||
				a.DeviceID != deviceID ||
				a.Substatus != "initialAssignment" {
				t.Errorf("got %+v", a)
			}
			w.close()
			w.wantUntold("secret-word")

			if err := w.cloud.StopDPS(); err != nil {
				t.Fatal(err)
			}
			again := w.again(kept)
			again.live()
			again.awaitState(machine.Connected, 0)
			if a := again.device.Assignment(); a.Payload != allocated || a.Hub != w.cloud.Hub("A") {
				t.Errorf("after a restart: %+v", a)
			}
			again.close()
			again.wantUntold("secret-word")
			if info, err := os.Stat(filepath.Join(dir, "assignment.json")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("assignment.json: %v, %v", info, err)
			}
		})
	}
}

func TestAnAssignmentWithoutAPayloadHasNoPayloadRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, emulator.Config{}, nil)
		w.live()
		w.awaitState(machine.Connected, 0)
		if a := w.device.Assignment(); a.Payload != "" || a.Hub != w.cloud.Hub("A") {
			t.Errorf("got %+v", a)
		}
		w.close()
		for _, r := range w.records {
			if isPayload(r) {
				t.Errorf("told %+v", r)
			}
		}
	})
}

func TestTheAssignmentIsUsedEvenIfItsPayloadIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payload := `"` + strings.Repeat("x", provisioning.MaxPayload-1) + `"`
		w := newWorld(t, true, emulator.Config{AllocationPayload: payload},
			func(s *machine.Settings) { s.Storage.StateDir = t.TempDir() })
		w.live()
		i := w.await("the warning", 0,
			func(r machine.Record) bool { return r.Kind == observe.Warning && strings.Contains(r.Error, "payload") })
		if want := fmt.Sprintf("a payload of %d bytes", len(payload)); !strings.Contains(w.records[i].Error, want) ||
			len(w.records[i].Error) > 500 {
			t.Errorf("it warns %.600q", w.records[i].Error)
		}
		w.awaitState(machine.Connected, 0)
		if a := w.device.Assignment(); a.Payload != "" || a.Hub != w.cloud.Hub("A") {
			t.Errorf("got %.200q at %s", a.Payload, a.Hub)
		}
		w.close()
	})
}

// Whoever is told of a payload may ask for it at once, on a goroutine of its own.
func TestThePayloadCanBeReadWhenItIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan machine.Assignment, 1)
		var w *world
		w = newWorld(t, true, emulator.Config{AllocationPayload: allocated}, func(s *machine.Settings) {
			s.Observers = append(s.Observers, func(r machine.Record) {
				if isPayload(r) {
					seen <- w.device.Assignment()
				}
			})
		})
		w.live()
		if a := <-seen; a.Payload != allocated || a.Hub != w.cloud.Hub("A") {
			t.Errorf("got %+v", a)
		}
		w.close()
	})
}
