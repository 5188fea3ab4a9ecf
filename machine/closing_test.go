package machine_test

import (
	"errors"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

// What a hub has acknowledged is not lost, however soon after that the session ended.
func TestClosingCountsTheAcknowledgementsThatCameJustBeforeTheEnd(t *testing.T) {
	for range 50 {
		bubble(t, nil, func(t *testing.T, w *world) {
			w.connected()
			if err := w.cloud.Strike("A", emulator.Poison, emulator.Params{Mark: "poison=yes"}); err != nil {
				t.Fatal(err)
			}
			w.network.SetLatency(10 * time.Millisecond) // all is sent before anything comes
			w.send()
			w.send()
			w.sendWith(map[string]string{"poison": "yes"})
			var lost *machine.LostError
			if err := w.close(); !errors.As(err, &lost) || *lost != (machine.LostError{Left: 1}) {
				t.Errorf("close: %v", err)
			}
		})
	}
}

func TestClosingSendsTheReadingsThatTheDiskDoesNotHaveYet(t *testing.T) {
	dir := t.TempDir()
	seldom := func(s *machine.Settings) { s.StateDir, s.SyncEvery = dir, time.Hour }
	bubble(t, seldom, func(t *testing.T, w *world) {
		w.connected()
		for range 3 {
			w.send()
		}
		start := time.Now()
		if err := w.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("closing took %v", took)
		}
		w.wantNothingLost()
		if left := w.warnings("wait in"); left != "" {
			t.Error(left)
		}
	})
}
