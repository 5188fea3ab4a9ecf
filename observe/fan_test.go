package observe_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// depth is how many records wait for an observer, as docs/events.md says.
const depth = 4096

// A recorder is an observer that keeps the IDs of records, and warnings. Read it when nothing is emitted.
type recorder struct {
	ids   []string
	notes []string
	stall chan struct{} // observe blocks until it is closed; nil means that it does not block
}

func (e *recorder) observe(r observe.Record) {
	if e.stall != nil {
		<-e.stall
	}
	if r.Kind == observe.Warning {
		e.notes = append(e.notes, fmt.Sprintf("after %d: %s", len(e.ids), r.Message))
		return
	}
	e.ids = append(e.ids, r.ID)
}

func emit(f *observe.Fan, from, to int) (ids []string) {
	for i := from; i <= to; i++ {
		id := fmt.Sprint(i)
		f.Emit(observe.Record{Kind: observe.Accepted, Device: "lizard-1", ID: id})
		ids = append(ids, id)
	}
	return ids
}

func closeFan(t *testing.T, f *observe.Fan) {
	t.Helper()
	if err := f.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Each test is a bubble, which fails when a goroutine is left behind.

func TestEveryObserverGetsEveryRecordInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a, b recorder
		f := observe.NewFan(a.observe, b.observe)
		before := emit(f, 1, 10)
		f.Start()
		f.Start() // once is enough
		want := append(before, emit(f, 11, depth)...)
		closeFan(t, f)
		if !slices.Equal(a.ids, want) || !slices.Equal(b.ids, want) || a.notes != nil {
			t.Errorf("%d and %d of %d records, %q", len(a.ids), len(b.ids), len(want), a.notes)
		}
	})
}

func TestObserversAgreeOnTheOrderOfRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a, b recorder
		f := observe.NewFan(a.observe, b.observe)
		f.Start()
		var emitters sync.WaitGroup
		for n := range 4 {
			emitters.Go(func() { emit(f, 1000*n+1, 1000*n+500) })
		}
		emitters.Wait()
		closeFan(t, f)
		if len(a.ids) != 2000 || !slices.Equal(a.ids, b.ids) {
			t.Errorf("%d and %d records", len(a.ids), len(b.ids))
		}
	})
}

func TestStalledObserverDelaysNobodyAndLearnsHowManyRecordsItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := recorder{stall: make(chan struct{})}, recorder{}
		f := observe.NewFan(slow.observe, quick.observe)
		f.Start()
		emit(f, 0, 0)
		synctest.Wait() // the slow one has it, and does not return
		began := time.Now()
		var all []string
		for i := 1; i <= depth+12; i += 4 {
			all = append(all, emit(f, i, i+3)...)
			synctest.Wait() // so that the quick one is never behind
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("emitting waited for %s", took)
		}
		if want := append([]string{"0"}, all...); !slices.Equal(quick.ids, want) {
			t.Errorf("the other observer saw %d records, want %d", len(quick.ids), len(want))
		}
		close(slow.stall)
		synctest.Wait()
		last := emit(f, 5000, 5000)
		closeFan(t, f)
		if want := append(append([]string{"0"}, all[:depth]...), last...); !slices.Equal(slow.ids, want) {
			t.Errorf("it saw %d records, want the oldest %d and those after the gap", len(slow.ids), len(want))
		}
		want := []string{fmt.Sprintf("after %d: 12 records missing here: this observer was too slow", depth+1)}
		if !slices.Equal(slow.notes, want) || quick.notes != nil {
			t.Errorf("they are told %q and %q, want %q and nothing", slow.notes, quick.notes, want)
		}
	})
}

func TestRecordsEmittedBeforeStartAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e recorder
		f := observe.NewFan(e.observe)
		emit(f, 1, depth+1)
		f.Start()
		closeFan(t, f)
		if len(e.ids) != depth || len(e.notes) != 1 || !strings.Contains(e.notes[0], "1 record missing") {
			t.Errorf("%d records and %q", len(e.ids), e.notes)
		}
	})
}

func TestCloseWaitsForASlowObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := 0
		f := observe.NewFan(func(observe.Record) { time.Sleep(time.Second); seen++ })
		f.Start()
		emit(f, 1, 5)
		closeFan(t, f)
		if seen != 5 {
			t.Errorf("Close returned after %d of 5 records", seen)
		}
	})
}

func TestCloseDoesNotWaitLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, quick := recorder{stall: make(chan struct{})}, recorder{}
		f := observe.NewFan(stuck.observe, quick.observe)
		f.Start()
		emit(f, 1, 5)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := f.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it says %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %s", took)
		}
		synctest.Wait()
		if len(quick.ids) != 5 {
			t.Errorf("the other observer saw %d of 5 records", len(quick.ids))
		}
		close(stuck.stall)
		closeFan(t, f) // again, and now it ends
		if len(stuck.ids) != 5 {
			t.Errorf("released, it saw %d of 5 records", len(stuck.ids))
		}
	})
}

func TestRecordsEmittedAfterCloseAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e recorder
		f := observe.NewFan(e.observe)
		f.Start()
		emit(f, 1, 1)
		closeFan(t, f)
		emit(f, 2, 9000)
		closeFan(t, f)
		if len(e.ids) != 1 || e.notes != nil {
			t.Errorf("%d records and %q", len(e.ids), e.notes)
		}
	})
}

func TestFanThatWasNotStartedCanBeClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := observe.NewFan(func(observe.Record) { t.Error("there was no start") })
		emit(f, 1, 3)
		closeFan(t, f)
		f.Start()
		closeFan(t, f)
	})
}

func TestEmitAndCloseMayBeConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e recorder
		f := observe.NewFan(e.observe)
		f.Start()
		var emitters sync.WaitGroup
		for range 4 {
			emitters.Go(func() { emit(f, 1, 500) })
		}
		closeFan(t, f)
		emitters.Wait()
	})
}

func TestObserverMayEmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *observe.Fan
		var e recorder
		f = observe.NewFan(e.observe, func(r observe.Record) {
			if r.ID == "1" {
				f.Emit(observe.Record{ID: "an echo"})
			}
		})
		f.Start()
		emit(f, 1, 1)
		synctest.Wait()
		closeFan(t, f)
		if !slices.Equal(e.ids, []string{"1", "an echo"}) {
			t.Errorf("%q", e.ids)
		}
	})
}
