package outbox_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func reading(body string) payloads.Reading { return payloads.Reading{Body: []byte(body)} }

func put(t *testing.T, box outbox.Outbox, count int) {
	t.Helper()
	for range count {
		if _, err := box.Put(t.Context(), reading("12345678"), outbox.Stamp{}); err != nil {
			t.Fatal(err)
		}
	}
}

// peeked are the numbers that Peek hands out, one after another.
func peeked(box outbox.Outbox, after uint64) (numbers []uint64) {
	for {
		r, ok := box.Peek(after)
		if !ok {
			return numbers
		}
		numbers = append(numbers, r.ID.N)
	}
}

func TestReadingsAreNumberedFromOneInOneEpoch(t *testing.T) {
	box := outbox.NewMemory(outbox.Options{})
	first, _ := box.Put(t.Context(), reading("1"), outbox.Stamp{})
	second, _ := box.Put(t.Context(), reading("2"), outbox.Stamp{})
	if first.N != 1 || second.N != 2 || first.Epoch != second.Epoch || first.Epoch == "" {
		t.Errorf("%s, %s", first, second)
	}
	if other := outbox.NewMemory(outbox.Options{}); other != nil {
		if id, _ := other.Put(t.Context(), reading("1"), outbox.Stamp{}); id.Epoch == first.Epoch {
			t.Error("two outboxes share an epoch, so their numbers collide")
		}
	}
}

func TestLeftReadingReturnsToItsPlace(t *testing.T) {
	box := outbox.NewMemory(outbox.Options{})
	put(t, box, 5)
	if got := peeked(box, 2); !slices.Equal(got, []uint64{3, 4, 5}) {
		t.Fatalf("above 2: %v", got)
	}
	box.Leave(5)
	box.Leave(3)
	box.Remove(4)
	box.Remove(4) // once is enough
	if got := peeked(box, 0); !slices.Equal(got, []uint64{1, 2, 3, 5}) {
		t.Errorf("in the end %v", got)
	}
	if n, bytes := box.Pending(); n != 4 || bytes != 4*8 {
		t.Errorf("%d readings, %d bytes wait", n, bytes)
	}
}

func TestFullOutboxDropsTheOldestThatIsNotInFlight(t *testing.T) {
	for name, limits := range map[string]outbox.Limits{"readings": {Readings: 3}, "bytes": {Bytes: 3 * 8}} {
		t.Run(name, func(t *testing.T) {
			var dropped []uint64
			box := outbox.NewMemory(outbox.Options{Limits: limits, Dropped: func(d outbox.Drop) {
				dropped = append(dropped, d.Numbers.First)
				if !errors.Is(d.Why, outbox.NoRoom) {
					t.Error(d)
				}
			}})
			put(t, box, 3)
			box.Peek(0) // 1 is in flight
			put(t, box, 2)
			if !slices.Equal(dropped, []uint64{2, 3}) {
				t.Errorf("dropped %v", dropped)
			}
			peeked(box, 0)
			dropped = nil
			if _, err := box.Put(t.Context(), reading("12345678"), outbox.Stamp{}); !errors.Is(err, outbox.ErrFull) {
				t.Errorf("everything is in flight: %v", err)
			}
			box.Leave(1)
			if got := peeked(box, 0); !slices.Equal(got, []uint64{1}) {
				t.Errorf("1 has gone: %v", got)
			}
		})
	}
}

func TestReadingTooLargeForTheOutboxIsRefused(t *testing.T) {
	box := outbox.NewMemory(outbox.Options{Limits: outbox.Limits{Bytes: 10}})
	if _, err := box.Put(t.Context(), reading("12345678901"), outbox.Stamp{}); !errors.Is(err, outbox.ErrFull) {
		t.Error(err)
	}
}

func TestPutAfterCloseIsRefused(t *testing.T) {
	box := outbox.NewMemory(outbox.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := box.Put(ctx, reading("1"), outbox.Stamp{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	box.Close()
	if _, err := box.Put(t.Context(), reading("1"), outbox.Stamp{}); !errors.Is(err, outbox.ErrClosed) {
		t.Error(err)
	}
}

func TestDeliveredReadingsAreFreed(t *testing.T) {
	box := outbox.NewMemory(outbox.Options{})
	deliver := func() {
		e, _ := box.Peek(0)
		box.Remove(e.ID.N)
	}
	const outage = 50_000
	put(t, box, outage)
	for range outage {
		deliver()
	}
	for range 2_000 {
		if _, err := box.Put(t.Context(), payloads.Reading{Body: make([]byte, 64<<10)}, outbox.Stamp{}); err != nil {
			t.Fatal(err)
		}
		deliver()
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 32<<20 {
		t.Errorf("nothing waits, and the heap has %d MiB", m.HeapAlloc>>20)
	}
	runtime.KeepAlive(box)
}

func TestEmptiedOutboxHoldsNoMemory(t *testing.T) {
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	box := outbox.NewMemory(outbox.Options{})
	before := heap()
	put(t, box, 50_000)
	for range 50_000 {
		r, _ := box.Peek(0)
		box.Remove(r.ID.N)
	}
	if held := heap() - before; held > 100<<10 {
		t.Errorf("nothing waits, and %d kB are held", held>>10)
	}
	runtime.KeepAlive(box)
}

func TestPutDoesNotSpinIfTheAgeLimitIsTheLongestDuration(t *testing.T) {
	var looks atomic.Int64
	m := outbox.NewMemory(outbox.Options{
		Limits:  outbox.Limits{Readings: 1, Age: math.MaxInt64, Full: outbox.Block},
		Elapsed: func() time.Duration { looks.Add(1); return 0 },
	})
	if _, err := m.Put(t.Context(), reading("1"), outbox.Stamp{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Put(ctx, reading("1"), outbox.Stamp{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if n := looks.Load(); n > 10 {
		t.Errorf("Put looked for old readings %d times in 50 ms", n)
	}
}
