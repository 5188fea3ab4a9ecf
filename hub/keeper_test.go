package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
)

// silent counts what it is asked and accepts it.
func silent(asked *int) Handlers {
	var mu sync.Mutex
	return Handlers{Desired: func(context.Context, payloads.PropertyName, json.RawMessage) (PropertyAck, error) {
		mu.Lock()
		defer mu.Unlock()
		*asked++
		return PropertyAck{}, nil
	}}
}

func hangs(ctx context.Context, _ payloads.PropertyName, _ json.RawMessage) (PropertyAck, error) {
	<-ctx.Done()
	return PropertyAck{}, ctx.Err()
}

// A slowDisk is written only when it is let, and counts that.
type slowDisk struct {
	let   chan error // what becomes of a write; nil: it is done
	saves int
}

// slowed gives a reporter such a disk.
func slowed(r reporter) *slowDisk {
	d := &slowDisk{let: make(chan error)}
	r.twin.reports.kept.save = func(f statefile.File, v any) error {
		if err := <-d.let; err != nil {
			return err
		}
		d.saves++
		return f.Save(v)
	}
	return d
}

// reporting is a report that waits for its disk.
func reporting(ctx context.Context, r reporter, patch string) chan error {
	done := make(chan error, 1)
	p := object(r.t, patch)
	go func() { done <- r.Report(ctx, p) }()
	synctest.Wait()
	return done
}

func TestReportsThatComeWhileTheDiskIsBusyShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "twin.json")
		r := newReporter(t, Settings{TwinFile: statefile.At(file)})
		disk := slowed(r)
		first := reporting(t.Context(), r, `{"first":1}`)
		var burst []chan error
		for i := range 100 {
			burst = append(burst, reporting(t.Context(), r, fmt.Sprintf(`{"p%d":1}`, i)))
		}
		if len(first) > 0 {
			t.Error("a report was accepted before it was safe")
		}
		disk.let <- nil
		synctest.Wait()
		if len(first) != 1 || len(burst[0]) > 0 || after(t, file) != `{"first":1}` {
			t.Error("the first report is not the one that is safe")
		}
		disk.let <- nil
		synctest.Wait()
		for _, done := range append(burst, first) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if disk.saves != 2 || after(t, file) != text(r.twin.reports.all().patches()) {
			t.Errorf("%d writes", disk.saves)
		}
		r.End() // the file holds all of it: nothing is written
	})
}

// A sensor that reports every now and then costs one write each time, and what has not changed none.
func TestAReportThatIsConfirmedCostsOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "twin.json")
		r := newReporter(t, Settings{TwinFile: statefile.At(file)})
		disk := slowed(r)
		close(disk.let)
		for i := range 10 {
			r.report(fmt.Sprintf(`{"battery":%d}`, i))
			r.confirm()
			synctest.Wait()
			if contents(file) != "" {
				t.Errorf("it is confirmed, and still in %s", contents(file))
			}
		}
		for range 10 { // offline
			r.report(`{"battery":5}`)
		}
		if r.End(); disk.saves != 11 {
			t.Errorf("%d writes", disk.saves)
		}
	})
}

// Whoever reports waits, or not; the session goes on.
func TestADiskThatStallsHoldsUpWhoReportsAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReporter(t, Settings{TwinFile: statefile.At(filepath.Join(t.TempDir(), "twin.json"))})
		disk := slowed(r)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := <-reporting(ctx, r, `{"a":1}`); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("report: %v", err)
		}
		r.twin.reports.answer(answerTo("", "x", "1", 1))
		if got := r.confirm(); got != `{"a":1,"x":{"value":1,"ac":200,"av":1,"ad":null}}` {
			t.Errorf("sent %s", got)
		}
		disk.let <- nil
		r.End()
	})
}

func TestADiskThatCannotBeWrittenIsToldOnceAndRecoversByItself(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at once": 0, "later": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "twin.json")
				r := newReporter(t, Settings{TwinFile: statefile.At(file), SyncEvery: wait})
				var tries atomic.Int32
				var well atomic.Bool
				r.twin.reports.kept.save = func(f statefile.File, v any) error {
					if tries.Add(1); !well.Load() {
						return errors.New("no space left on device")
					}
					return f.Save(v)
				}
				for i := range 100 {
					r.report(fmt.Sprintf(`{"battery":%d}`, i))
					time.Sleep(time.Second)
				}
				r.wantWarnings("no space left on device; make room")
				if n := tries.Load(); n > 111 {
					t.Errorf("%d tries in 100 s", n)
				}
				well.Store(true)
				time.Sleep(saveRetry)
				synctest.Wait()
				r.wantWarnings("can be stored again")
				if got := after(t, file); got != `{"battery":99}` {
					t.Errorf("%s is safe", got)
				}
				if wait == 0 { // the next report does not wait for the next try
					before := time.Now()
					well.Store(false)
					r.report(`{"a":1}`)
					well.Store(true)
					r.report(`{"a":2}`)
					r.wantWarnings("no space left", "can be stored again")
					if got, took := after(t, file), time.Since(before); got != `{"a":2,"battery":99}` || took != 0 {
						t.Errorf("after %s %s is safe", took, got)
					}
				}
				tried := tries.Load()
				time.Sleep(time.Hour)
				if n := tries.Load() - tried; n > 0 {
					t.Errorf("%d more tries", n)
				}
				r.End()
			})
		})
	}
}

// What the file says is out of date: after a restart it would be sent in the place of what is newer.
func TestAFileThatCannotBeRemovedIsRemovedWhenTheDiskIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := filepath.Join(t.TempDir(), "state")
		file := filepath.Join(below, "twin.json")
		r := newReporter(t, Settings{TwinFile: statefile.At(file)})
		r.report(`{"a":1}`)
		aside := filepath.Join(t.TempDir(), "aside")
		if err := errors.Join(os.Rename(below, aside), os.WriteFile(below, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		r.report(`{"a":2}`)
		r.confirm()
		synctest.Wait()
		r.wantWarnings("make the state directory writable")
		if err := errors.Join(os.Remove(below), os.Rename(aside, below)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(saveRetry)
		synctest.Wait()
		if got := contents(file); got != "" {
			t.Errorf("there is still %s", got)
		}
		r.wantWarnings()
		r.End()
	})
}

func TestADiskThatStaysBrokenHoldsUpNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReporter(t, Settings{TwinFile: statefile.At(filepath.Join(t.TempDir(), "twin.json"))})
		r.twin.reports.kept.save = func(statefile.File, any) error { return errors.New("broken") }
		r.report(`{"a":1}`)
		began := time.Now()
		if n, kept := r.End(); n != 1 || kept || time.Since(began) != 0 {
			t.Errorf("%d wait, kept: %t, after %s", n, kept, time.Since(began))
		}
		r.wantWarnings("broken")
	})
}

// Where the disk is spared, what is confirmed in time never reaches it.
func TestWithATimeToWriteWhatIsConfirmedBeforeIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "twin.json")
		r := newReporter(t, Settings{TwinFile: statefile.At(file), SyncEvery: 10 * time.Second})
		disk := slowed(r)
		close(disk.let)
		for i := range 20 {
			r.report(fmt.Sprintf(`{"battery":%d}`, i))
			time.Sleep(time.Second)
			r.confirm()
			time.Sleep(3 * time.Second)
		}
		if disk.saves != 0 {
			t.Errorf("%d writes", disk.saves)
		}
		time.Sleep(10 * time.Second)
		r.report(`{"a":1}`)
		time.Sleep(9 * time.Second)
		r.report(`{"b":1}`)
		if contents(file) != "" {
			t.Error("it was written early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := after(t, file); got != `{"a":1,"b":1}` {
			t.Errorf("after the time %s is safe", got)
		}
		r.report(`{"b":2}`)
		before := time.Now()
		if n, kept := r.End(); n != 2 || !kept || after(t, file) != `{"a":1,"b":2}` || disk.saves != 2 {
			t.Errorf("in the end %s is safe, after %d writes", after(t, file), disk.saves)
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("the end took %s", took)
		}
	})
}

// A device that is to keep nothing on the disk may find what an earlier one has kept. It must not stay there for a later one.
func TestInMemoryNothingIsWrittenAndWhatWasKeptIsRemovedWhenItIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "twin.json")
		r := newReporter(t, Settings{TwinFile: statefile.At(file), InMemory: true})
		r.report(`{"a":1}`)
		if n, kept := r.End(); n != 1 || kept || contents(file) != "" {
			t.Errorf("%d wait, kept: %t, in %s", n, kept, contents(file))
		}
		durable := newReporter(t, Settings{TwinFile: statefile.At(file)})
		durable.report(`{"a":1,"b":1}`)
		durable.End()
		before := contents(file)
		again := newReporter(t, Settings{TwinFile: statefile.At(file), InMemory: true})
		again.report(`{"a":2}`)
		synctest.Wait()
		if contents(file) != before {
			t.Errorf("it was written: %s", contents(file))
		}
		if got := again.confirm(); got != `{"a":2,"b":1}` {
			t.Errorf("sent %s", got)
		}
		synctest.Wait()
		if contents(file) != "" {
			t.Errorf("left behind: %s", contents(file))
		}
		again.End()
	})
}
