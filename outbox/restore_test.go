package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/statefile"
)

// A homed log is one in a real directory, which the process owns by a lock.
type homed struct {
	*Log
	t        *testing.T
	state    string // the directory above the log's
	owner    *statefile.Dir
	answered []uint64
	o        Options

	mu       sync.Mutex // guards what follows
	dropped  ranges
	warnings []string
}

func openHomed(t *testing.T, o Options) *homed {
	t.Helper()
	return openHomedIn(t, filepath.Join(t.TempDir(), "st"), o)
}

func openHomedIn(t *testing.T, state string, o Options) *homed {
	t.Helper()
	h := &homed{t: t, state: state}
	h.owner = statefile.NewDir(h.state, nil, nil)
	must(t, h.owner.Acquire())
	o.Owner, o.segmentSize = h.owner, 300
	o.Warn = func(err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.warnings = append(h.warnings, err.Error())
	}
	o.Dropped = func(d Drop) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if d.Numbers != (Range{}) {
			h.dropped.add(d.Numbers)
		}
	}
	h.o = o
	h.reopen()
	t.Cleanup(func() {
		h.Log.Close()
		h.owner.Close()
	})
	return h
}

// reopen opens the log, for the first time or after it was closed.
func (h *homed) reopen() {
	h.t.Helper()
	l, err := Open(h.dir(), h.o)
	must(h.t, err)
	h.Log = l
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (h *homed) dir() string { return filepath.Join(h.state, "outbox") }

// put wants readings to be accepted.
func (h *homed) put(n int) {
	h.t.Helper()
	for range n {
		id, err := h.Put(h.t.Context(), of(fmt.Sprint("reading ", h.Last()+1)), Stamp{})
		must(h.t, err)
		h.answered = append(h.answered, id.N)
	}
}

// found is what the next start would find in the directory.
func (h *homed) found() (numbers []uint64) {
	h.t.Helper()
	s, err := Read(h.dir())
	must(h.t, err)
	for e := range s.Pending() {
		want(h.t, "the body", string(e.Reading.Body), fmt.Sprint("reading ", e.ID.N))
		numbers = append(numbers, e.ID.N)
	}
	return numbers
}

// wantNothingLost wants each reading that was accepted to be found or named, and returns how many were named.
func (h *homed) wantNothingLost() (named int) {
	h.t.Helper()
	found := h.found()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.answered {
		gone := len(h.dropped.without(Range{n, n})) == 0
		if gone {
			named++
		}
		if gone == slices.Contains(found, n) {
			h.t.Errorf("reading %d: named %t, found in %v; dropped %v; warnings %q", n, gone, found, h.dropped,
				h.warnings)
		}
	}
	return named
}

// hands are what somebody may do to the files, and how many of twenty pending readings may be lost by that.
var hands = map[string]struct {
	do   func(h *homed) error
	loss int
}{
	"removes the state directory": {func(h *homed) error { return os.RemoveAll(h.state) }, 0},
	"removes the outbox":          {func(h *homed) error { return os.RemoveAll(h.dir()) }, 0},
	"removes the files":           {func(h *homed) error { return removeAll(h.dir(), "*.log") }, 0},
	"removes the lock":            {func(h *homed) error { return os.Remove(filepath.Join(h.state, "lock")) }, 0},
	"renames the state directory": {func(h *homed) error { return os.Rename(h.state, h.state+".old") }, 0},
	"renames the outbox":          {func(h *homed) error { return os.Rename(h.dir(), h.dir()+".old") }, 0},
	"puts a copy in its place":    {func(h *homed) error { return replaceByCopy(h.state) }, 0},
	"puts a copy, and removes it": {
		func(h *homed) error { return errors.Join(replaceByCopy(h.state), os.RemoveAll(h.state+".old")) }, 0,
	},
	"puts an empty directory": {
		func(h *homed) error { return errors.Join(os.Rename(h.state, h.state+".old"), os.Mkdir(h.state, 0o700)) }, 0,
	},
	"truncates the newest file": {func(h *homed) error { return truncate(h.dir(), -1) }, 5},
	"truncates the oldest file": {func(h *homed) error { return truncate(h.dir(), 0) }, 5},
	"truncates every file":      {func(h *homed) error { return truncate(h.dir(), -1, 0, 1, 2, 3, 4, 5) }, 20},
	"replaces a file by a copy": {func(h *homed) error { return copyInPlace(h.dir()) }, 0},
	"removes it, and it is remade": {
		func(h *homed) error { return errors.Join(os.RemoveAll(h.dir()), os.Mkdir(h.dir(), 0o700)) }, 0,
	},
}

func logs(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	slices.Sort(names)
	return names
}

func removeAll(dir, pattern string) error {
	names, _ := filepath.Glob(filepath.Join(dir, pattern))
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

func replaceByCopy(dir string) error {
	return errors.Join(os.Rename(dir, dir+".old"), os.CopyFS(dir, os.DirFS(dir+".old")))
}

func copyInPlace(dir string) error {
	name := logs(dir)[0]
	text, err := os.ReadFile(name)
	return errors.Join(err, os.Remove(name), os.WriteFile(name, text, 0o600))
}

// truncate empties files, counted from the oldest or, below 0, from the newest.
func truncate(dir string, which ...int) error {
	names := logs(dir)
	for _, i := range which {
		if i < 0 {
			i += len(names)
		}
		if i < len(names) {
			if err := os.Truncate(names[i], 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestReadingIsAcceptedOnlyWhereTheNextStartFindsIt(t *testing.T) {
	slow.Test(t)
	for _, later := range []time.Duration{0, time.Hour} {
		for name, hand := range hands {
			t.Run(fmt.Sprintf("when somebody %s, synced after %s", name, later), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := openHomed(t, Options{Sync: later})
					h.put(20)
					synctest.Wait() // for a patrol; the next one comes later
					must(t, hand.do(h))
					h.put(1)
					time.Sleep(max(later, time.Second)) // until the next commit and the next patrol
					if named := h.wantNothingLost(); named > hand.loss {
						t.Errorf("%d are named as missing", named)
					}
					if !slices.Contains(h.found(), 21) {
						t.Error("the reading that was accepted afterwards is not where the next start looks")
					}
					want(t, "the error at the end", h.Close(), nil)
					h.wantNothingLost()
				})
			})
		}
	}
}

// No reading has to come for that: a patrol finds what is missing within a second.
func TestRemovedFilesAreRestoredOrNamedWithinASecond(t *testing.T) {
	slow.Test(t)
	for name, hand := range hands {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openHomed(t, Options{})
				h.put(20)
				time.Sleep(time.Minute)
				synctest.Wait()
				must(t, hand.do(h))
				time.Sleep(time.Second)
				synctest.Wait()
				h.wantNothingLost()
				h.mu.Lock()
				defer h.mu.Unlock()
				if name == "removes the lock" || name == "replaces a file by a copy" {
					return // what is pending is where it was
				}
				if len(h.warnings) == 0 || !strings.Contains(h.warnings[0], "removed or replaced") {
					t.Errorf("it warns %q", h.warnings)
				}
			})
		})
	}
}

func TestMoreSegmentsThanOpenFilesOutliveARename(t *testing.T) {
	slow.Test(t)
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{})
		h.put(500) // in some 170 segments
		synctest.Wait()
		must(t, os.Rename(h.state, h.state+".old"))
		h.put(1)
		if named := h.wantNothingLost(); named > 0 {
			t.Errorf("%d of 500 are named as missing", named)
		}
	})
}

func TestAcknowledgementsOutliveARestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{})
		h.put(20)
		for n := uint64(1); n <= 15; n++ {
			e, _ := h.Peek(0)
			h.Remove(e.ID.N)
		}
		h.put(1)
		time.Sleep(2 * time.Second) // for the commit of the acknowledgements
		synctest.Wait()
		must(t, replaceByCopy(h.state))
		h.put(1)
		want(t, "pending", fmt.Sprint(h.found()), fmt.Sprint([]uint64{16, 17, 18, 19, 20, 21, 22}))
	})
}

func TestOlderCopyAddsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{})
		h.put(10)
		synctest.Wait()
		must(t, os.CopyFS(h.state+".copy", os.DirFS(h.state)))
		for range 10 {
			e, _ := h.Peek(0)
			h.Remove(e.ID.N)
		}
		h.put(10)
		synctest.Wait()
		removeDirectory(t, h.state)
		must(t, os.Rename(h.state+".copy", h.state))
		h.put(1)
		want(t, "pending", fmt.Sprint(h.found()), fmt.Sprint([]uint64{11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21}))
	})
}

// Somebody has put another outbox in place, in which readings are pending that another process has accepted.
func TestRestoreLeavesPendingReadingsOfAnotherOutboxAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := openHomed(t, Options{})
		other.put(5)
		must(t, other.Close())
		other.owner.Close()
		h := openHomed(t, Options{})
		h.put(5)
		synctest.Wait() // else the committer may restore the directory while it is being replaced
		removeDirectory(t, h.dir())
		must(t, os.CopyFS(h.dir(), os.DirFS(other.dir())))
		if id, err := h.Put(t.Context(), of("lost"), Stamp{}); !errors.Is(err, DiskFull) ||
			!strings.Contains(err.Error(), "another process") {
			t.Errorf("Put returns %v, %v", id, err)
		}
		s, err := Read(h.dir())
		must(t, err)
		want(t, "the epoch", s.Epoch, other.epoch)
		want(t, "pending there", s.Readings, 5)
		if err := h.Close(); !errors.Is(err, statefile.ErrReplaced) {
			t.Errorf("Close returns %v, though five readings are nowhere", err)
		}
	})
}

func TestRestoreLeavesAnotherProcessAtThePathAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{})
		h.put(5)
		synctest.Wait() // for a patrol; the next one comes later
		must(t, os.Rename(h.state, h.state+".old"))
		owner := statefile.NewDir(h.state, nil, nil)
		must(t, owner.Acquire())
		other, err := Open(h.dir(), Options{Owner: owner})
		must(t, err)
		theirs, err := other.Put(t.Context(), of("theirs"), Stamp{})
		must(t, err)
		for range 10 {
			if id, err := h.Put(t.Context(), of("lost"), Stamp{}); !errors.Is(err, statefile.ErrLocked) {
				t.Errorf("Put returns %v, %v", id, err)
			}
			time.Sleep(time.Second)
		}
		want(t, "pending here", h.readings, 5)
		s, err := Read(h.dir())
		must(t, err)
		want(t, "the other's", fmt.Sprint(s.Epoch, s.Last), fmt.Sprint(theirs.Epoch, theirs.N))
		must(t, other.Close())
		owner.Close()
	})
}

// The file interface may fail in any way; nothing may be accepted then.
func TestNothingIsAcceptedWithoutTheLock(t *testing.T) {
	for _, why := range []error{syscall.ENOLCK, syscall.ENOSYS, syscall.EACCES, statefile.ErrLocked} {
		synctest.Test(t, func(t *testing.T) {
			disk := newDisk()
			l, err := Open("", Options{Files: disk})
			must(t, err)
			_, err = l.Put(t.Context(), of("before"), Stamp{})
			must(t, err)
			disk.fails(func(op, _ string, _ int) error {
				switch op {
				case "verify":
					return statefile.ErrReplaced
				case "retake":
					return why
				}
				return nil
			})
			if id, err := l.Put(t.Context(), of("without"), Stamp{}); !errors.Is(err, why) {
				t.Errorf("%v: Put returns %v, %v", why, id, err)
			}
			disk.fails(nil)
			time.Sleep(time.Minute)
			id, err := l.Put(t.Context(), of("after"), Stamp{})
			must(t, err)
			want(t, "the number", id.N, uint64(3))
			must(t, l.Close())
			s, err := readFiles("", disk)
			must(t, err)
			want(t, "pending", s.Readings, 2)
		})
	}
}
