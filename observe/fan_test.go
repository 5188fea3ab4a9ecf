package observe_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// An ear is an observer that keeps the IDs it hears, and what else it is told. It is read when nobody speaks.
type ear struct {
	ids   []string
	notes []string
	stall chan struct{} // when not nil, hearing waits until it is closed
}

func (e *ear) hear(r observe.Record) {
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
		var a, b ear
		f := observe.NewFan(a.hear, nil, b.hear)
		before := emit(f, 1, 10)
		f.Start()
		f.Start() // once is enough
		want := append(before, emit(f, 11, depth)...)
		closeFan(t, f)
		if !slices.Equal(a.ids, want) || !slices.Equal(b.ids, want) || f.Lost() != 0 {
			t.Errorf("%d and %d of %d records, %d lost", len(a.ids), len(b.ids), len(want), f.Lost())
		}
	})
}

func TestObserversAgreeOnTheOrderOfRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a, b ear
		f := observe.NewFan(a.hear, b.hear)
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
		slow, quick := ear{stall: make(chan struct{})}, ear{}
		f := observe.NewFan(slow.hear, quick.hear)
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
		if f.Lost() != 12 {
			t.Errorf("%d counted as lost, want 12", f.Lost())
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
		var e ear
		f := observe.NewFan(e.hear)
		emit(f, 1, depth+1)
		f.Start()
		closeFan(t, f)
		if len(e.ids) != depth || f.Lost() != 1 || len(e.notes) != 1 {
			t.Errorf("%d seen, %d lost, told %q", len(e.ids), f.Lost(), e.notes)
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
		stuck, quick := ear{stall: make(chan struct{})}, ear{}
		f := observe.NewFan(stuck.hear, quick.hear)
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
		var e ear
		f := observe.NewFan(e.hear)
		f.Start()
		emit(f, 1, 1)
		closeFan(t, f)
		emit(f, 2, 9000)
		closeFan(t, f)
		if len(e.ids) != 1 || f.Lost() != 0 {
			t.Errorf("%d seen, %d lost", len(e.ids), f.Lost())
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
		var e ear
		f := observe.NewFan(e.hear)
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
		var e ear
		f = observe.NewFan(e.hear, func(r observe.Record) {
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
