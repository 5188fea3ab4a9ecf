package emulator_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

func TestTheLedgerForgetsTheOldestMessagesBeyondItsLimit(t *testing.T) {
	inBubble(t, emulator.Config{LedgerLimit: 100 << 10}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		kilobytes := strings.Repeat("x", 10<<10)
		for n := range 50 {
			p.mustPublish(fmt.Sprintf("%s$.mid=%d", events, n), kilobytes)
			ledger := w.Ledger()
			if newest := ledger[len(ledger)-1]; newest.Sequence != int64(n+1) || newest.MessageID != fmt.Sprint(n) {
				t.Fatalf("the newest message is %d, %s", newest.Sequence, newest.MessageID)
			}
			for i, d := range ledger {
				if want := ledger[0].Sequence + int64(i); d.Sequence != want {
					t.Fatalf("message %d follows message %d", d.Sequence, want-1)
				}
			}
			if kept, most := len(ledger), 9; kept != min(n+1, most) {
				t.Fatalf("after %d messages, %d are kept", n+1, kept)
			}
		}
		p.mustPublish(events+"$.mid=49", "again")
		p.mustPublish(events+"$.mid=0", "again, but the first one is forgotten")
		ledger := w.Ledger()
		if last := ledger[len(ledger)-2:]; !last[0].Duplicate || last[1].Duplicate {
			t.Errorf("duplicates: %t %t", last[0].Duplicate, last[1].Duplicate)
		}
	})
}

func TestAMessageLargerThanTheLedgerIsKeptUntilTheNext(t *testing.T) {
	inBubble(t, emulator.Config{LedgerLimit: 1}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		for n := range 3 {
			p.mustPublish(events, fmt.Sprint(n))
			if ledger := w.Ledger(); len(ledger) != 1 || string(ledger[0].Body) != fmt.Sprint(n) {
				t.Errorf("after message %d, kept are %v", n, ledger)
			}
		}
	})
}

// A message whose ID came twice stays known until both have gone.
func TestADuplicateIsKnownAsLongAsAnyOfItsMessagesIsKept(t *testing.T) {
	inBubble(t, emulator.Config{LedgerLimit: 25 << 10}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		kilobytes := strings.Repeat("x", 10<<10) // two of them are kept
		for i, c := range []struct {
			id        string
			duplicate bool
		}{{"1", false}, {"1", true}, {"2", false}, {"1", true}, {"3", false}, {"4", false}, {"1", false}} {
			p.mustPublish(events+"$.mid="+c.id, kilobytes)
			ledger := w.Ledger()
			if last := ledger[len(ledger)-1]; last.Duplicate != c.duplicate || len(ledger) > 2 {
				t.Errorf("message %d, ID %s, is a duplicate: %t; %d are kept", i+1, c.id, last.Duplicate, len(ledger))
			}
		}
	})
}

func TestTheLedgerIsReadFromASequenceNumber(t *testing.T) {
	inBubble(t, emulator.Config{LedgerLimit: 35 << 10}, func(t *testing.T, w world) {
		if all, missed := w.LedgerAfter(0, 10); len(all) != 0 || missed != 0 || w.LastSequence() != 0 {
			t.Errorf("before the first message: %d messages, %d missed, last %d", len(all), missed, w.LastSequence())
		}
		p := w.mustConnect(login{hub: "A"})
		for range 8 { // the last three are kept
			p.mustPublish(events, strings.Repeat("x", 10<<10))
		}
		for _, c := range []struct {
			after  int64
			count  int
			first  int64
			length int
			missed int64
		}{
			{0, 10, 6, 3, 5}, {0, 2, 6, 2, 5}, {4, 10, 6, 3, 1}, {5, 10, 6, 3, 0}, {6, 10, 7, 2, 0}, {7, 10, 8, 1, 0},
			{8, 10, 0, 0, 0}, {9, 10, 0, 0, 0}, {1 << 62, 10, 0, 0, 0}, {6, 0, 0, 0, 0},
		} {
			all, missed := w.LedgerAfter(c.after, c.count)
			if len(all) != c.length || missed != c.missed || len(all) > 0 && all[0].Sequence != c.first {
				t.Errorf("after %d: %d messages, %d missed", c.after, len(all), missed)
			}
		}
	})
}

func TestEachStartHasItsOwnRunID(t *testing.T) {
	a, b := emulator.ForTest(t, emulator.Config{}), emulator.ForTest(t, emulator.Config{})
	if a.RunID() == b.RunID() || !regexp.MustCompile(`^[a-z0-9]{8}$`).MatchString(a.RunID()) {
		t.Errorf("the runs are %s and %s", a.RunID(), b.RunID())
	}
}

func TestAMessageHasTheModelThatItsDeviceNamed(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", username: w.Hub("A") + "/" + device +
			"/?api-version=2021-04-12&model-id=dtmi%3Ax%3B1"})
		p.mustPublish(events, "x")
		if got := w.Ledger()[0].Model; got != "dtmi:x;1" {
			t.Errorf("the model is %q", got)
		}
	})
}
