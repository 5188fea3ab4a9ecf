package machine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
)

// arrived are the numbers of the readings that the cloud has, in the order in which they came.
func (w *world) arrived() (numbers []string) {
	for _, d := range w.cloud.Ledger() {
		_, n, _ := strings.Cut(d.MessageID, "-")
		numbers = append(numbers, n)
	}
	return numbers
}

func TestInOrderTheOldestReadingsGoFirstAtThePaceOfTheBacklog(t *testing.T) {
	bubble(t, func(s *machine.Settings) { s.Delivery.InOrder, s.Delivery.Unpaced = true, false },
		func(t *testing.T, w *world) {
			var want []string
			for n := range 25 {
				want = append(want, fmt.Sprint(n+1))
			}
			for range 20 {
				w.send()
			}
			w.connected()
			for range 5 {
				w.send() // live, and behind the backlog all the same
			}
			time.Sleep(time.Second + time.Millisecond)
			if got := w.arrived(); len(got) < 9 || len(got) > 12 || !slices.Equal(got, want[:len(got)]) {
				t.Errorf("after a second at 10 a second there are %v", got)
			}
			time.Sleep(2 * time.Second)
			if got := w.arrived(); !slices.Equal(got, want) {
				t.Errorf("in the end there are %v", got)
			}
			w.close()
			w.wantNothingLost()
		})
}

func TestAReadingIsSentOnlyWhenTheDiskHasIt(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(s *machine.Settings) { s.Storage.StateDir, s.Storage.SyncEvery = dir, 10*time.Second },
		func(t *testing.T, w *world) {
			w.connected()
			before := len(w.cloud.Ledger()) // connected sends one itself, or none
			w.send()
			time.Sleep(9 * time.Second)
			if n := len(w.cloud.Ledger()) - before; n != 0 {
				t.Errorf("%d readings were sent that a power cut could take back", n)
			}
			time.Sleep(2 * time.Second)
			if n := len(w.cloud.Ledger()) - before; n != 1 {
				t.Errorf("%d readings have arrived", n)
			}
			w.close()
			w.wantNothingLost()
		})
}

// life is a device that is connected, takes some readings and is closed.
func (w *world) life(readings int) {
	w.t.Helper()
	w.connected()
	for range readings {
		w.send()
	}
	synctest.Wait()
	if err := w.close(); err != nil {
		w.t.Error(err)
	}
}

// namedBefore are the readings that name what the epoch before ended with: "b-1 after a-3".
func (w *world) namedBefore() (named []string) {
	for _, d := range w.cloud.Ledger() {
		if before := d.Properties[outbox.PreviousProperty]; before != "" {
			named = append(named, d.MessageID+" after "+before)
		}
	}
	return named
}

// Where readings wait in memory every start is an epoch, and its first reading names what the one before ended with.
func TestTheFirstReadingOfAnEpochNamesTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	inMemory := func(s *machine.Settings) { s.Storage.StateDir, s.Storage.InMemory = dir, true }
	bubble(t, inMemory, func(t *testing.T, w *world) {
		w.life(3)
		last := w.taken[len(w.taken)-1]
		w.again(inMemory).life(0) // takes none
		third := w.again(inMemory)
		third.life(2)
		if got, want := w.namedBefore(), []string{third.taken[0] + " after " + last}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestADeviceThatChangesItsStorageNamesTheLastReadingOfTheEarlierRun(t *testing.T) {
	dir := t.TempDir()
	onDisk := func(s *machine.Settings) { s.Storage.StateDir = dir }
	inMemory := func(s *machine.Settings) { s.Storage.StateDir, s.Storage.InMemory = dir, true }
	bubble(t, onDisk, func(t *testing.T, first *world) {
		first.life(3)
		second := first.again(inMemory)
		second.life(2)
		first.again(onDisk).life(0) // takes none
		third := first.again(onDisk)
		third.life(2)
		if got, want := first.namedBefore(), []string{
			second.taken[0] + " after " + first.taken[2], third.taken[0] + " after " + second.taken[1],
		}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestADeviceInMemoryNamesTheReadingsThatArePendingOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(s *machine.Settings) { s.Storage.StateDir = dir }, func(t *testing.T, w *world) {
		w.live() // and not connected, so that the readings wait
		w.send()
		w.send()
		if err := w.close(); err != nil {
			t.Error(err)
		}
		again := w.again(func(s *machine.Settings) { s.Storage.StateDir, s.Storage.InMemory = dir, true })
		again.life(1)
		if again.warnings("2 readings are pending in "+filepath.Join(dir, "outbox")) == "" {
			t.Error("it says nothing")
		}
		last := w.again(func(s *machine.Settings) { s.Storage.StateDir = dir })
		last.life(0)
		w.taken = append(w.taken, again.taken...)
		w.wantNothingLost()
	})
}

func TestADamagedEpochIsAWarning(t *testing.T) {
	dir := t.TempDir()
	inMemory := func(s *machine.Settings) { s.Storage.StateDir, s.Storage.InMemory = dir, true }
	bubble(t, inMemory, func(t *testing.T, w *world) {
		w.life(1)
		file := filepath.Join(dir, "epoch.json")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text[:len(text)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		again := w.again(inMemory)
		again.life(1)
		if again.warnings(file+".damaged") == "" {
			t.Error("it says nothing")
		}
	})
}
