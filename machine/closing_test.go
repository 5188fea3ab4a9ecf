package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
)

// What a hub has acknowledged is not lost, however soon after that the session ended.
func TestClosingCountsTheAcknowledgementsThatCameJustBeforeTheEnd(t *testing.T) {
	for range 50 {
		bubble(t, nil, func(t *testing.T, w *world) {
			w.connected()
			if err := w.cloud.Inject("A", emulator.Poison, emulator.Params{Mark: "poison=yes"}); err != nil {
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
	seldom := func(s *machine.Settings) { s.Storage.StateDir, s.Storage.SyncEvery = dir, time.Hour }
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
		if left := w.warnings("are pending in"); left != "" {
			t.Error(left)
		}
	})
}

// What is live waits when the device is closed, because the window is full.
func TestClosingSendsTheLiveReadingsFirstAndTheBacklogUnpaced(t *testing.T) {
	dir := t.TempDir()
	paced := func(s *machine.Settings) { s.Storage.StateDir, s.Delivery.Unpaced, s.Delivery.Window = dir, false, 4 }
	bubble(t, paced, func(t *testing.T, w *world) {
		for range 200 {
			w.send()
		}
		w.strike("A", emulator.LatePUBACK, emulator.Params{Delay: time.Second})
		w.connected()
		time.Sleep(500 * time.Millisecond)
		for range 5 {
			w.send()
		}
		if err := w.cloud.Clear("A", emulator.LatePUBACK); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := w.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("closing took %v", took)
		}
		want := []string{"1", "2", "3", "4", "201", "202", "203", "204", "205"}
		for n := 5; n <= 200; n++ {
			want = append(want, fmt.Sprint(n))
		}
		if got := w.arrived(); !slices.Equal(got, want) {
			t.Errorf("there arrived %v", got)
		}
		w.wantNothingLost()
		if left := w.warnings("are pending in"); left != "" {
			t.Error(left)
		}
	})
}

func TestReadingsThatClosingHasNoTimeForAreCountedAndSentAtTheNextStart(t *testing.T) {
	dir := t.TempDir()
	durable := func(s *machine.Settings) { s.Storage.StateDir, s.Delivery.Unpaced = dir, false }
	bubble(t, durable, func(t *testing.T, w *world) {
		for range 300 {
			w.send()
		}
		w.strike("A", emulator.LatePUBACK, emulator.Params{Delay: 2 * time.Second})
		w.connected()
		for range 5 {
			w.send()
		}
		start := time.Now()
		if err := w.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("closing took %v", took)
		}
		waiting, acknowledged := waitingIn(t, dir), w.acknowledged()
		if waiting == 0 || acknowledged == 0 || waiting+acknowledged != len(w.taken) {
			t.Errorf("of %d readings %d were acknowledged and %d wait", len(w.taken), acknowledged, waiting)
		}
		want := fmt.Sprintf("machine: %d readings are pending in %s and will be sent at the next start\n", waiting, dir)
		if said := w.warnings("are pending in"); said != want {
			t.Errorf("it says %q, want %q", said, want)
		}

		if err := w.cloud.Clear("A", emulator.LatePUBACK); err != nil {
			t.Fatal(err)
		}
		next := w.again(durable)
		next.connected()
		if err := next.close(); err != nil {
			t.Errorf("the next close: %v", err)
		}
		if left := next.warnings("pending in"); left != "" {
			t.Error(left)
		}
		if twice := w.wantNothingLost(); twice > 64 {
			t.Errorf("%d readings were sent twice; no more than the window were in flight", twice)
		}
	})
}

// waitingIn is how many readings wait in a state directory that no device has open.
func waitingIn(t *testing.T, dir string) (n int) {
	t.Helper()
	kept, err := outbox.Read(filepath.Join(dir, "outbox"))
	if err != nil {
		t.Fatal(err)
	}
	for range kept.Pending() {
		n++
	}
	return n
}

func (w *world) acknowledged() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		if r.Kind == observe.Delivered {
			n++
		}
	}
	return n
}

func TestADeviceThatIsClosedBeforeItRunsNamesWhatItLoses(t *testing.T) {
	for name, c := range map[string]struct {
		keeps bool
		want  string // what a record says
	}{
		"in memory":   {false, ""},
		"on the disk": {true, "2 readings are pending"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true, emulator.Config{}, func(s *machine.Settings) {
				if c.keeps {
					s.Storage.StateDir = t.TempDir()
				}
			})
			w.send()
			w.send()
			err := w.device.Close(t.Context())
			var lost *machine.LostError
			if got := errors.As(err, &lost); got == c.keeps || got && *lost != (machine.LostError{Left: 2}) {
				t.Errorf("close: %v", err)
			}
			if said := w.warnings("pending"); (said != "") != c.keeps || !strings.Contains(said, c.want) {
				t.Errorf("the records say %q", said)
			}
			if err := w.device.Run(t.Context()); err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
}

func TestAFinalStateOfTheProgramClosesTheSessionAndEndsHandlers(t *testing.T) {
	ended := make(chan struct{})
	bubble(t, func(s *machine.Settings) {
		ended = make(chan struct{})
		s.Handlers.Method = func(ctx context.Context, _ string, _ json.RawMessage) (int, any, error) {
			<-ctx.Done()
			close(ended)
			return 200, nil, nil
		}
		s.Table = func(_ *machine.Device, table machine.Table) machine.Table {
			return table.With([]machine.StateSpec{{Name: "Dead", Do: returns(machine.Stay, errNotInstalled)}},
				[]machine.Transition{{From: machine.Connected, On: "die", To: "Dead"}})
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		go w.cloud.InvokeMethod(context.Background(), deviceID, "wait", nil)
		synctest.Wait()
		w.network.SetLatency(10 * time.Millisecond) // the reading is in flight at the end
		w.send()
		if err := w.device.Fire(t.Context(), "die"); err != nil {
			t.Fatal(err)
		}
		err := <-w.ran
		w.ran <- err
		if !errors.Is(err, errNotInstalled) || errors.As(err, new(*machine.LostError)) {
			t.Errorf("run: %v", err)
		}
		<-ended
		time.Sleep(time.Second)
		if w.cloud.Connected(deviceID, "A") {
			t.Error("the session is still open")
		}
		w.wantNothingLost()
	})
}
