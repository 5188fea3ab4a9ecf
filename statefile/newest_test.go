package statefile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type number struct {
	N int `json:"n"`
}

// A counter is something whose newest state is kept: a number.
type counter struct {
	*Newest[number]
	t       *testing.T
	n       atomic.Int64
	reports chan string
	saves   int
	disk    chan error // what becomes of each write; nil means that the disk is fast and takes all
}

func newCounter(t *testing.T, file File) *counter {
	c := &counter{t: t, reports: make(chan string, 100)}
	c.Newest = NewNewest(file, func() number { return number{int(c.n.Load())} })
	c.IsEmpty = func(n number) bool { return n.N == 0 }
	c.Report = func(err error) { c.reports <- fmt.Sprint(err) }
	c.save = func(n number) error {
		if c.disk != nil {
			if err := <-c.disk; err != nil {
				return err
			}
		}
		c.saves++
		return file.Save(n)
	}
	return c
}

func (c *counter) set(n int) (change int) {
	c.n.Store(int64(n))
	return c.Changed()
}

// setting sets the number and awaits the file.
func (c *counter) setting(ctx context.Context, n int) chan error {
	done := make(chan error, 1)
	change := c.set(n)
	go func() { done <- c.Await(ctx, change) }()
	synctest.Wait()
	return done
}

// wantFile checks the number in the file, where zero means that there is no file.
func (c *counter) wantFile(want int) {
	c.t.Helper()
	synctest.Wait()
	var held number
	ok, err := At(c.File().Path()).Load(&held)
	if err != nil || held.N != want || ok != (want > 0) {
		c.t.Errorf("the file has %d, %t, %v, want %d", held.N, ok, err, want)
	}
}

func (c *counter) wantReports(want ...string) {
	c.t.Helper()
	synctest.Wait()
	var got []string
	for len(c.reports) > 0 {
		got = append(got, <-c.reports)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("reported %q, want %q", got, want)
	}
}

// keeping tests a counter on a file in a directory of its own.
func keeping(t *testing.T, test func(*testing.T, File)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, At(filepath.Join(t.TempDir(), "state", "n.json"))) })
}

func TestChangesWhileTheDiskIsBusyShareAWrite(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		c := newCounter(t, file)
		c.disk = make(chan error)
		first := c.setting(t.Context(), 1)
		var later []chan error
		for i := range 100 {
			later = append(later, c.setting(t.Context(), i+2))
		}
		if len(first) > 0 {
			t.Error("Await returned before the first change was on the disk")
		}
		c.disk <- nil
		synctest.Wait()
		if len(first) != 1 || len(later[0]) > 0 {
			t.Error("the first write was not for the first change alone")
		}
		c.disk <- nil
		for _, done := range append(later, first) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		c.wantFile(101)
		if !c.Close() || c.saves != 2 {
			t.Errorf("%d writes", c.saves)
		}
	})
}

func TestAwaitEndsWithItsContextWhileTheDiskStalls(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		c := newCounter(t, file)
		c.disk = make(chan error)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := <-c.setting(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.disk <- nil
		c.Close()
	})
}

func TestStateThatIsAlreadyHeldIsNotWritten(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		c := newCounter(t, file)
		for range 3 {
			<-c.setting(t.Context(), 1)
		}
		c.Close()
		again := newCounter(t, file)
		if n, ok, err := again.Load(); n.N != 1 || !ok || err != nil {
			t.Errorf("loaded %d, %t, %v", n.N, ok, err)
		}
		<-again.setting(t.Context(), 1)
		if held := again.Close(); !held || c.saves != 1 || again.saves != 0 {
			t.Errorf("%d and %d writes; held: %t", c.saves, again.saves, held)
		}
	})
}

func TestEmptyStateRemovesTheFile(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		c := newCounter(t, file)
		<-c.setting(t.Context(), 1)
		c.wantFile(1)
		<-c.setting(t.Context(), 0)
		c.wantFile(0)
		if !c.Close() {
			t.Error("the file does not hold the empty state")
		}
	})
}

func TestStateThatIsNeverEmptyIsWritten(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		c := newCounter(t, file)
		c.IsEmpty = nil
		<-c.setting(t.Context(), 1)
		<-c.setting(t.Context(), 0)
		var n number
		if ok, err := At(file.Path()).Load(&n); n.N != 0 || !ok || err != nil {
			t.Errorf("loaded %v, %t, %v", n, ok, err)
		}
		if c.Close(); c.saves != 2 {
			t.Errorf("%d writes", c.saves)
		}
	})
}

func TestBrokenDiskIsReportedOnceAndTriedAgain(t *testing.T) {
	for name, delay := range map[string]time.Duration{"without a delay": 0, "with a delay": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			keeping(t, func(t *testing.T, file File) {
				c := newCounter(t, file)
				c.Delay = delay
				var tries atomic.Int32
				var works atomic.Bool
				c.save = func(n number) error {
					if tries.Add(1); !works.Load() {
						return errors.New("broken")
					}
					return file.Save(n)
				}
				for i := range 100 {
					<-c.setting(t.Context(), i+1)
					time.Sleep(time.Second)
				}
				c.wantReports("broken")
				if n := tries.Load(); delay == 0 && (n < 100 || n > 111) || delay > 0 && (n < 10 || n > 11) {
					t.Errorf("%d tries in 100 s", n)
				}
				works.Store(true)
				time.Sleep(retryInterval)
				c.wantReports("<nil>")
				c.wantFile(100)
				before := tries.Load()
				time.Sleep(time.Hour)
				if n := tries.Load(); n != before {
					t.Errorf("%d more tries", n-before)
				}
				if delay == 0 { // the next change does not wait for the next try
					began := time.Now()
					works.Store(false)
					<-c.setting(t.Context(), 1)
					works.Store(true)
					<-c.setting(t.Context(), 2)
					c.wantReports("broken", "<nil>")
					c.wantFile(2)
					if took := time.Since(began); took != 0 {
						t.Errorf("it took %s", took)
					}
				}
				c.Close()
			})
		})
	}
}

func TestCloseDoesNotWaitForABrokenDisk(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		c := newCounter(t, file)
		c.save = func(number) error { return errors.New("broken") }
		<-c.setting(t.Context(), 1)
		began := time.Now()
		if c.Close() || time.Since(began) != 0 {
			t.Errorf("after %s the file is said to hold the state", time.Since(began))
		}
		c.wantReports("broken")
	})
}

// What the file says is out of date: after a restart it would be taken for the newest.
func TestFileThatCannotBeRemovedIsRemovedLater(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		c := newCounter(t, file)
		<-c.setting(t.Context(), 1)
		dir, aside := filepath.Dir(file.Path()), filepath.Join(t.TempDir(), "aside")
		if err := errors.Join(os.Rename(dir, aside), os.WriteFile(dir, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		<-c.setting(t.Context(), 2)
		<-c.setting(t.Context(), 0)
		synctest.Wait()
		if len(c.reports) != 1 {
			t.Errorf("%d reports", len(c.reports))
		}
		<-c.reports
		if err := errors.Join(os.Remove(dir), os.Rename(aside, dir)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryInterval)
		c.wantFile(0)
		c.wantReports("<nil>")
		c.Close()
	})
}

// The file may be readable at the next start. What it says would then be taken for the newest.
func TestFileThatCouldNotBeLoadedIsRemovedWhenTheStateBecomesEmpty(t *testing.T) {
	for name, removeOnly := range map[string]bool{"written": false, "only removed": true} {
		t.Run(name, func(t *testing.T) {
			keeping(t, func(t *testing.T, file File) {
				if err := file.Save(number{1}); err != nil {
					t.Fatal(err)
				}
				// A link to itself cannot be read, also by root.
				if err := errors.Join(os.Remove(file.Path()), os.Symlink(file.Path(), file.Path())); err != nil {
					t.Fatal(err)
				}
				c := newCounter(t, file)
				c.RemoveOnly = removeOnly
				if _, ok, err := c.Load(); ok || err == nil {
					t.Fatalf("loaded, %t, %v", ok, err)
				}
				<-c.setting(t.Context(), 0) // it was something else for a moment
				c.Close()
				if _, err := os.Lstat(file.Path()); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the file is still there: %v", err)
				}
			})
		})
	}
}

func TestDelayCollectsChangesAndCloseWritesAtOnce(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		c := newCounter(t, file)
		c.Delay = 10 * time.Second
		<-c.setting(t.Context(), 1) // does not wait
		time.Sleep(5 * time.Second)
		c.set(0)
		time.Sleep(time.Minute)
		if c.saves != 0 {
			t.Error("a state was written that was out of date before the delay was over")
		}
		c.set(1)
		time.Sleep(9 * time.Second)
		c.set(2)
		c.wantFile(0)
		time.Sleep(time.Second)
		c.wantFile(2)
		c.set(3)
		began := time.Now()
		if !c.Close() || c.saves != 2 || time.Since(began) != 0 {
			t.Errorf("closed after %s and %d writes", time.Since(began), c.saves)
		}
		c.wantFile(3)
		if c.set(4); !c.Close() {
			t.Error("closed again, the file does not hold the state")
		}
		c.wantFile(3)
	})
}

func TestRemoveOnlyWritesNothing(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		unused := newCounter(t, file)
		unused.RemoveOnly = true
		if _, ok, err := unused.Load(); ok || err != nil {
			t.Errorf("loaded, %t, %v", ok, err)
		}
		<-unused.setting(t.Context(), 1)
		unused.wantFile(0)
		if unused.Close() {
			t.Error("nothing was written, and the file is said to hold the state")
		}
		if err := file.Save(number{1}); err != nil {
			t.Fatal(err)
		}
		c := newCounter(t, file)
		c.RemoveOnly = true
		c.Load()
		<-c.setting(t.Context(), 2)
		c.wantFile(1)
		<-c.setting(t.Context(), 0)
		c.wantFile(0)
		if c.Close() || c.saves != 0 {
			t.Errorf("%d writes, or the file is said to hold the state", c.saves)
		}
	})
}

func TestZeroFileKeepsNothing(t *testing.T) {
	keeping(t, func(t *testing.T, _ File) {
		c := newCounter(t, File{})
		if _, ok, err := c.Load(); ok || err != nil {
			t.Errorf("loaded, %t, %v", ok, err)
		}
		if err := <-c.setting(t.Context(), 1); err != nil || c.Close() || c.saves != 0 {
			t.Errorf("%v, %d writes, or a file is said to hold the state", err, c.saves)
		}
	})
}

func TestFileThatCouldNotBeLoadedIsLeftAloneUntilThereIsAState(t *testing.T) {
	keeping(t, func(t *testing.T, file File) {
		if err := os.MkdirAll(file.Path(), 0o700); err != nil { // a directory cannot be read as a file
			t.Fatal(err)
		}
		c := newCounter(t, file)
		if _, ok, err := c.Load(); ok || err == nil {
			t.Errorf("loaded, %t, %v", ok, err)
		}
		c.Close()
		if _, err := os.Stat(file.Path()); err != nil {
			t.Error(err)
		}
	})
}
