package ledger_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"giantlizard.example/failover/ledger"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// accepted returns an outbox that accepted 100 readings: 1 to 10 were dropped, 11 is quarantined, 91
// to 100 are pending, and the others were acknowledged.
func accepted(t *testing.T) *outbox.Snapshot {
	t.Helper()
	dir := t.TempDir()
	box, err := outbox.Open(dir, outbox.Options{Limits: outbox.Limits{Readings: 90}})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := box.Put(t.Context(), payloads.Reading{Body: []byte("1")}, outbox.Stamp{}); err != nil {
			t.Fatal(err)
		}
	}
	for n := uint64(11); n <= 90; n++ {
		if e, ok := box.Peek(0); !ok || e.ID.N != n {
			t.Fatalf("handed out %v", e)
		}
		if n == 11 {
			box.Quarantine(n, errors.New("bad"))
		} else {
			box.Remove(n)
		}
	}
	if err := box.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := outbox.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// received returns the receipts of readings 12 to 90.
func received(s *outbox.Snapshot) (all []ledger.Receipt) {
	for n := 12; n <= 90; n++ {
		all = append(all, ledger.Receipt{MessageID: fmt.Sprintf("%s-%d", s.Epoch, n)})
	}
	return all
}

// receipts returns the receipts in a text.
func receipts(text string) ([]ledger.Receipt, error) {
	r := ledger.ReadReceipts(strings.NewReader(text))
	all := slices.Collect(r.All())
	return all, r.Err()
}

func TestReportAccountsForEveryReading(t *testing.T) {
	s := accepted(t)
	want := ledger.Report{
		Accepted: 100, Delivered: 79, Pending: 10, Missing: 11, Dropped: map[string]uint64{"full": 10}, Quarantined: 1,
		LostIDs: []string{},
	}
	if got := ledger.Compare(s, slices.Values(received(s))); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReportNamesOneLossOneDuplicateAndOneSwap(t *testing.T) {
	s := accepted(t)
	all := received(s)
	all = slices.Delete(all, 20, 21)      // the loss of 32
	all = slices.Insert(all, 40, all[39]) // a duplicate
	all[50], all[51] = all[51], all[50]   // a swap
	for _, id := range []string{"", "another-1", s.Epoch + "-101", s.Epoch + "-012", s.Epoch + "-0"} {
		all = append(all, ledger.Receipt{MessageID: id})
	}
	got := ledger.Compare(s, slices.Values(all))
	want := ledger.Report{
		Accepted: 100, Delivered: 78, Pending: 10, Missing: 12, Dropped: map[string]uint64{"full": 10}, Quarantined: 1,
		Lost: 1, LostIDs: []string{s.Epoch + "-32"}, Duplicates: 1, OutOfOrder: 1, Foreign: 5,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The backlog arrives after newer readings, in its own order.
func TestEachLaneHasItsOwnOrder(t *testing.T) {
	s := accepted(t)
	all := received(s)
	all = append(all[40:], all[:40]...)
	for i := 39; i < 79; i++ {
		all[i].Lane = "backlog"
	}
	if got := ledger.Compare(s, slices.Values(all)); got.OutOfOrder != 0 || got.Lost != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestReceiptsOfIoTHubToolsAreRead(t *testing.T) {
	for _, text := range []string{
		`{"device":"dev1","hub":"A","messageId":"e-1","properties":{"$.mid":"e-1","failover-lane":"backlog"},` +
			`"body":"eyJtZXNzYWdlSWQiOiJ4In0="}`,
		`{"EnqueuedTimeUtc":"2026-01-01T00:00:00Z","Properties":{"failover-lane":"backlog"},` +
			`"SystemProperties":{"messageId":"e-1","connectionDeviceId":"dev1"},"Body":{"messageId":"x"}}`,
		"{\n \"event\": {\"origin\":\"dev1\",\"payload\":{\"message_id\":\"x\"}," +
			"\"properties\":{\"system\":{\"message_id\":\"e-1\"},\"application\":{\"failover-lane\":\"backlog\"}}}\n}",
		`{"iothub-message-id":"e-1","applicationProperties":{"failover-lane":"backlog"}}`,
	} {
		got, err := receipts(text + "\n[" + text + "]")
		want := ledger.Receipt{MessageID: "e-1", Lane: "backlog"}
		if err != nil || len(got) != 2 || got[0] != want || got[1] != want {
			t.Errorf("%s\ngave %+v, %v", text, got, err)
		}
	}
	if got, err := receipts("{}\n17\n"); err != nil || len(got) != 2 || got[0] != (ledger.Receipt{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// An application may name its own properties like the message ID.
func TestPropertyOfTheApplicationIsNotTheMessageID(t *testing.T) {
	for _, text := range []string{
		`{"event":{"properties":{"application":{"messageId":"mine"},"system":{"message_id":"e-1"}}}}`,
		`{"Properties":{"messageId":"mine"},"SystemProperties":{"messageId":"e-1"}}`,
		`{"iothub-message-id":"e-1","messageId":"mine"}`,
		`{"properties":{"$.mid":"e-1","message-id":"mine"}}`,
	} {
		for range 20 {
			if got, err := receipts(text); err != nil || len(got) != 1 || got[0].MessageID != "e-1" {
				t.Errorf("%s\ngave %+v, %v", text, got, err)
				break
			}
		}
	}
}

// A damaged file may claim any number.
func TestHugeRangesAreCountedWithoutALoop(t *testing.T) {
	s := &outbox.Snapshot{Epoch: "e", Last: math.MaxUint64, Dropped: []outbox.Drop{
		{Epoch: "e", Numbers: outbox.Range{First: 5, Last: 1 << 60}, Why: outbox.NoRoom},
		{Epoch: "e", Numbers: outbox.Range{First: 1 << 60, Last: math.MaxUint64 - 1}, Why: outbox.TooOld},
		{Epoch: "e", Numbers: outbox.Range{First: 4, Last: 4}, Why: outbox.Quarantined},
	}}
	got := ledger.Compare(s, slices.Values([]ledger.Receipt{{MessageID: "e-2"}, {MessageID: "e-7"},
		{MessageID: "e-18446744073709551615"}}))
	want := ledger.Report{
		Accepted: math.MaxUint64, Delivered: 3, Missing: math.MaxUint64 - 3, Quarantined: 1, Lost: 2,
		LostIDs: []string{"e-1", "e-3"},
		Dropped: map[string]uint64{"full": 1<<60 - 5, "too-old": math.MaxUint64 - 1 - 1<<60},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestOverlappingDropsUpToTheLargestNumberAreCountedOnce(t *testing.T) {
	s := &outbox.Snapshot{Epoch: "e", Last: math.MaxUint64, Dropped: []outbox.Drop{
		{Epoch: "e", Numbers: outbox.Range{First: 5, Last: math.MaxUint64}, Why: outbox.NoRoom},
		{Epoch: "e", Numbers: outbox.Range{First: 7, Last: math.MaxUint64}, Why: outbox.TooOld},
	}}
	got := ledger.Compare(s, slices.Values([]ledger.Receipt(nil)))
	want := ledger.Report{
		Accepted: math.MaxUint64, Missing: math.MaxUint64, Lost: 4, LostIDs: []string{"e-1-4"},
		Dropped: map[string]uint64{"full": math.MaxUint64 - 4},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The report is the same as if each number were counted alone.
func TestEachMissingReadingIsCountedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.Uint64Range(1, 30)
		s := &outbox.Snapshot{Epoch: "e", Last: rapid.Uint64Range(0, 30).Draw(t, "last")}
		given := map[uint64]bool{}
		for range rapid.IntRange(0, 6).Draw(t, "drops") {
			first := numbers.Draw(t, "first")
			r := outbox.Range{First: first, Last: first + rapid.Uint64Range(0, 8).Draw(t, "more")}
			s.Dropped = append(s.Dropped, outbox.Drop{Epoch: "e", Numbers: r, Why: outbox.NoRoom})
			for n := r.First; n <= r.Last; n++ {
				given[n] = true
			}
		}
		var received []ledger.Receipt
		seen := map[uint64]bool{}
		for _, n := range rapid.SliceOf(numbers).Draw(t, "received") {
			received = append(received, ledger.Receipt{MessageID: fmt.Sprintf("e-%d", n)})
			seen[n] = true
		}
		var dropped, lost uint64
		for n := uint64(1); n <= s.Last; n++ {
			switch {
			case seen[n]:
			case given[n]:
				dropped++
			default:
				lost++
			}
		}
		if got := ledger.Compare(s, slices.Values(received)); got.Dropped["full"] != dropped || got.Lost != lost ||
			got.Missing != dropped+lost {
			t.Fatalf("dropped %d, lost %d, got %+v", dropped, lost, got)
		}
	})
}

func TestDropsKnownOnlyByTheirCountAreNotLost(t *testing.T) {
	s := &outbox.Snapshot{
		Epoch: "e", Last: 12,
		Dropped: []outbox.Drop{{Epoch: "e", Numbers: outbox.Range{First: 9, Last: 10}, Why: outbox.NoRoom}},
		Forgotten: []outbox.Forgotten{{Why: outbox.NoRoom, Count: 3, Highest: 8},
			{Why: outbox.Quarantined, Count: 1, Highest: 4}},
	}
	for _, c := range []struct {
		received          string
		lost              []string
		full, quarantined uint64
	}{
		{"2 5 7 8 11 12", []string{}, 5, 1},
		{"2 5 7 8 11", []string{"e-12"}, 5, 1}, // beyond the drops of which only the count is known
		{"2 5 7 11 12", []string{"e-8"}, 5, 1}, // or 1, 3, 4 or 6
		{"1 2 3 5 6 7 11 12", []string{}, 3, 1},
		{"1 2 3 4 5 6 7 11 12", []string{}, 3, 0},
	} {
		var all []ledger.Receipt
		for n := range strings.FieldsSeq(c.received) {
			all = append(all, ledger.Receipt{MessageID: "e-" + n})
		}
		r := ledger.Compare(s, slices.Values(all))
		if r.Lost != uint64(len(c.lost)) || !slices.Equal(r.LostIDs, c.lost) ||
			r.Dropped["full"] != c.full || r.Quarantined != c.quarantined {
			t.Errorf("%s were received: %+v", c.received, r)
		}
	}
}
