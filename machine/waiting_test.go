package machine_test

import (
	"fmt"
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
	bubble(t, func(s *machine.Settings) { s.InOrder, s.DrainRate = true, 10 }, func(t *testing.T, w *world) {
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
	bubble(t, func(s *machine.Settings) { s.StateDir, s.SyncEvery = dir, 10*time.Second }, func(t *testing.T, w *world) {
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

// Where readings wait in memory every start is an epoch, and its first reading names what the one before ended with.
func TestTheFirstReadingOfAnEpochNamesTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	inMemory := func(s *machine.Settings) { s.StateDir, s.InMemory = dir, true }
	bubble(t, inMemory, func(t *testing.T, w *world) {
		live := func(w *world, readings int) {
			w.connected()
			for range readings {
				w.send()
			}
			synctest.Wait()
			if err := w.close(); err != nil {
				t.Error(err)
			}
		}
		live(w, 3)
		last := w.taken[len(w.taken)-1]
		live(w.again(inMemory), 0) // takes none
		third := w.again(inMemory)
		live(third, 2)
		var named []string
		for _, d := range w.cloud.Ledger() {
			if before := d.Properties[outbox.BeforeProperty]; before != "" {
				named = append(named, d.MessageID+" after "+before)
			}
		}
		if want := []string{third.taken[0] + " after " + last}; !slices.Equal(named, want) {
			t.Errorf("%q, want %q", named, want)
		}
	})
}
