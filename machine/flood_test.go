package machine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

// of are the records of a kind.
func (w *world) of(kind observe.Kind) (all []machine.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		if r.Kind == kind {
			all = append(all, r)
		}
	}
	return all
}

func TestAStartWithASmallerLimitNamesWhatItDropsInARange(t *testing.T) {
	dir := t.TempDir()
	if err := own(dir); err != nil {
		t.Fatal(err)
	}
	box, err := outbox.Open(filepath.Join(dir, "outbox"), outbox.Options{Sync: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var newest outbox.ID
	for range 20_000 {
		if newest, err = box.Put(t.Context(), payloads.Reading{Body: []byte("1")}, outbox.Stamp{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := box.Close(); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(s *machine.Settings) { s.Storage.StateDir, s.Storage.Limits = dir, outbox.Limits{Readings: 100} },
		func(t *testing.T, w *world) {
			if err := errors.Join(w.cloud.StopDPS(), w.cloud.KillHub("A", emulator.FIN, 0)); err != nil {
				t.Fatal(err)
			}
			w.live()
			if _, err := w.device.Send(t.Context(), machine.Reading{Body: []byte("1")}); err != nil {
				t.Fatal(err)
			}
			var lost *machine.LostError
			if err := w.close(); !errors.As(err, &lost) || *lost != (machine.LostError{Dropped: 19_901}) {
				t.Errorf("run: %v", err)
			}
			drops := w.of(observe.Dropped)
			if len(drops) != 2 || drops[0].ID != newest.Epoch+"-1" || drops[1].ID != newest.Epoch+"-2-19901" ||
				drops[1].Count != 19_900 {
				t.Errorf("%d records: %+v", len(drops), drops[:min(len(drops), 3)])
			}
		})
}

func TestAFullOutboxInMemoryRecordsOnceASecondWhatItDrops(t *testing.T) {
	bubble(t, func(s *machine.Settings) { s.Storage.Limits = outbox.Limits{Readings: 10} },
		func(t *testing.T, w *world) {
			if err := errors.Join(w.cloud.StopDPS(), w.cloud.KillHub("A", emulator.FIN, 0)); err != nil {
				t.Fatal(err)
			}
			w.live()
			for range 5_000 {
				if _, err := w.device.Send(t.Context(), machine.Reading{Body: []byte("1")}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			var lost *machine.LostError
			if err := w.close(); !errors.As(err, &lost) || *lost != (machine.LostError{Left: 10, Dropped: 4990}) {
				t.Errorf("run: %v", err)
			}
			drops, count := w.of(observe.Dropped), 0
			for _, r := range drops {
				count += max(1, r.Count)
			}
			if count != 4990 || len(drops) > 7 {
				t.Errorf("%d records count %d", len(drops), count)
			}
		})
}

// Whatever the warnings are about, and whoever causes them.
func TestAFloodOfWarningsReachesNoObserver(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		for i := range 50_000 {
			w.device.Warn(fmt.Errorf("sensor: reading %d", i))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		stand := 0
		for _, r := range w.of(observe.Warning) {
			stand += 1 + r.Repeated
		}
		if n := len(w.of(observe.Warning)); stand != 50_000 || n > 70 {
			t.Errorf("%d records stand for %d warnings", n, stand)
		}
	})
}

func TestReadingsThatAFileHasLostAreOneRecordWithTheirCount(t *testing.T) {
	dir := t.TempDir()
	if err := own(dir); err != nil {
		t.Fatal(err)
	}
	box, err := outbox.Open(filepath.Join(dir, "outbox"), outbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		if _, err := box.Put(t.Context(), payloads.Reading{Body: make([]byte, 200<<10)}, outbox.Stamp{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(box.Close(), os.Remove(filepath.Join(dir, "outbox", "0000000001.log"))); err != nil {
		t.Fatal(err)
	}
	bubble(t, in(dir), func(t *testing.T, w *world) {
		if err := errors.Join(w.cloud.StopDPS(), w.cloud.KillHub("A", emulator.FIN, 0)); err != nil {
			t.Fatal(err)
		}
		w.live()
		synctest.Wait()
		var lost *machine.LostError
		if err := w.close(); !errors.As(err, &lost) || lost.Dropped < 2 {
			t.Fatalf("run: %v", err)
		}
		if drops := w.of(observe.Dropped); len(drops) != 1 || drops[0].Count != lost.Dropped {
			t.Errorf("%d are lost, and the records are %+v", lost.Dropped, drops)
		}
	})
}
