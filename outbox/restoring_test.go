package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/statefile"
)

// second is another process on the path of h that accepts readings, delivers as many of them, and ends.
func (h *homed) second(accepts, delivers int) (ids []ID) {
	h.t.Helper()
	owner := statefile.NewDir(h.state, nil, nil)
	must(h.t, owner.Acquire())
	defer owner.Close()
	other, err := Open(h.dir(), Options{}) // no lock, as where directories cannot be locked
	must(h.t, err)
	for range accepts {
		id, err := other.Put(h.t.Context(), of("theirs"), Stamp{})
		must(h.t, err)
		ids = append(ids, id)
	}
	for range delivers {
		e, ok := other.Peek(0)
		if !ok {
			h.t.Fatal("nothing to deliver")
		}
		other.Remove(e.ID.N)
	}
	must(h.t, other.Close())
	return ids
}

// Somebody removes the lock, and another process uses the same files and ends, before this one looks again.
func TestRestoreLeavesReadingsOfASecondProcessInTheSameEpochAlone(t *testing.T) {
	for name, take := range map[string]func(h *homed) error{
		"without the lock": func(h *homed) error { return os.Remove(filepath.Join(h.state, "lock")) },
		"in a copy":        func(h *homed) error { return replaceByCopy(h.state) },
	} {
		for _, patrols := range []bool{false, true} { // the owner takes the directory again before the log looks
			t.Run(fmt.Sprint(name, patrols), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := openHomed(t, Options{})
					h.put(5)
					synctest.Wait()
					must(t, take(h))
					theirs := h.second(3, 0)
					if patrols {
						h.owner.Repair()
					}
					if id, err := h.Put(t.Context(), of("mine"), Stamp{}); err == nil ||
						!strings.Contains(err.Error(), "another process") {
						t.Errorf("Put returns %v, %v", id, err)
					}
					time.Sleep(2 * time.Second)
					if err := h.Close(); !errors.Is(err, statefile.ErrReplaced) {
						t.Errorf("Close returns %v", err)
					}
					s, err := Read(h.dir())
					must(t, err)
					for e := range s.Pending() {
						if slices.Contains(theirs, e.ID) && string(e.Reading.Body) != "theirs" {
							t.Errorf("%v holds %q", e.ID, e.Reading.Body)
						}
					}
					want(t, "pending", s.Readings, 8)
				})
			})
		}
	}
}

func TestNumbersOfASecondProcessAreNotGivenOutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{})
		h.put(5)
		synctest.Wait()
		must(t, os.Remove(filepath.Join(h.state, "lock")))
		theirs := h.second(3, 8) // which are all that are pending
		h.owner.Repair()
		for range 2 {
			id, err := h.Put(t.Context(), of("mine"), Stamp{})
			must(t, err)
			if slices.Contains(theirs, id) {
				t.Errorf("%v was given out twice", id)
			}
		}
	})
}

// A Files that fails while it is restored.
type failing struct {
	Files
	fault func(op, name string) error
}

func (f *failing) Create(name string) (File, error) {
	if err := f.fault("create", name); err != nil {
		return nil, err
	}
	file, err := f.Files.Create(name)
	if err != nil {
		return nil, err
	}
	return failingFile{file, name, f}, nil
}

func (f *failing) Open(name string) (File, error) {
	if err := f.fault("open", name); err != nil {
		return nil, err
	}
	file, err := f.Files.Open(name)
	if err != nil {
		return nil, err
	}
	return failingFile{file, name, f}, nil
}

func (f *failing) Retake() (Files, error) {
	if err := f.fault("retake", ""); err != nil {
		return nil, err
	}
	fresh, err := f.Files.Retake()
	return &failing{fresh, f.fault}, err
}

type failingFile struct {
	File
	name string
	f    *failing
}

func (f failingFile) Sync() error {
	return errors.Join(f.File.Sync(), f.f.fault("sync", f.name))
}

func (f failingFile) ReadAt(b []byte, at int64) (int, error) {
	if err := f.f.fault("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, at)
}

// openFailing opens a log whose files fail as fault says.
func openFailing(t *testing.T, fault func(op, name string) error) *homed {
	state := filepath.Join(t.TempDir(), "st")
	files := SystemFiles(filepath.Join(state, "outbox"))
	return openHomedIn(t, state,
		Options{Files: &failing{files, func(op, name string) error { return fault(op, name) }}})
}

// While the disk is full, half of the files are in the new directory. Readers go on with those that are open.
func TestReadersGoOnWhileFilesCannotBeRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		h := openFailing(t, func(op, name string) error {
			if full.Load() && op == "create" && strings.HasPrefix(name, segmentName(1)) {
				return syscall.ENOSPC
			}
			return nil
		})
		h.put(20)
		synctest.Wait()
		full.Store(true)
		removeDirectory(t, h.state)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for n := uint64(1); n <= 20; n++ {
			e, ok := h.Peek(0)
			if !ok || e.ID.N != n {
				t.Fatalf("Peek returns %v, %t, want reading %d; dropped %v", e.ID, ok, n, h.dropped)
			}
		}
		full.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		want(t, "kept", h.wantNothingLost(), 0)
	})
}

// A kill half-way leaves the newest file, which knows the others, so the next start names what is missing.
func TestStartAfterAKillDuringARestoreNamesWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		var left atomic.Int64
		h := openFailing(t, func(op, name string) error {
			if full.Load() && op == "create" {
				if left.Add(-1) < 0 {
					return syscall.EIO
				}
			}
			return nil
		})
		h.put(20)
		for kept := 1; kept < len(logs(h.dir())); kept++ {
			left.Store(int64(kept))
			full.Store(true)
			removeDirectory(t, h.state)
			time.Sleep(time.Second)
			synctest.Wait()
			s, err := Read(h.dir())
			must(t, err)
			known := map[uint64]bool{}
			for e := range s.Pending() {
				known[e.ID.N] = true
			}
			for _, d := range s.Dropped {
				for n := d.Numbers.First; n <= d.Numbers.Last; n++ {
					known[n] = true
				}
			}
			want(t, fmt.Sprintf("with %d files, pending or named", kept), len(known), 20)
			want(t, "the last number", s.Last, uint64(20))
			full.Store(false)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			want(t, "lost", h.wantNothingLost(), 0)
		}
	})
}

func TestUnreadableFileDoesNotKeepOthersFromBeingRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		h := openFailing(t, func(op, name string) error {
			if bad.Load() && op == "read" && name == segmentName(2) {
				return syscall.EIO
			}
			return nil
		})
		h.put(100)
		synctest.Wait()
		bad.Store(true)
		must(t, os.Rename(h.state, h.state+".old"))
		time.Sleep(time.Second)
		synctest.Wait()
		bad.Store(false)
		if named := h.wantNothingLost(); named == 0 || named > 5 {
			t.Errorf("%d of 100 are named as missing", named)
		}
		h.put(1)
	})
}

// With too few file descriptors, what the old directory has is not dropped.
func TestRestoreWithoutFileDescriptorsIsTriedAgain(t *testing.T) {
	slow.Test(t)
	synctest.Test(t, func(t *testing.T) {
		var out atomic.Bool
		h := openFailing(t, func(op, name string) error {
			if out.Load() && op == "open" {
				return syscall.EMFILE
			}
			return nil
		})
		h.put(500)
		must(t, h.Log.Close())
		files := newDirectory(h.dir(), nil)
		must(t, files.anchor())
		h.o.Files = &failing{files, h.o.Files.(*failing).fault}
		h.reopen() // with so many files that not all of them are open
		out.Store(true)
		must(t, os.Rename(h.state, h.state+".old"))
		time.Sleep(time.Second)
		synctest.Wait()
		out.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, "named as missing", h.wantNothingLost(), 0)
	})
}

// A copy of the directory holds all that counts, so nothing is written but what comes later.
func TestCopyOfTheDirectoryIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{})
		h.put(20)
		synctest.Wait()
		must(t, replaceByCopy(h.state))
		before := map[string]fs.FileInfo{}
		for _, name := range logs(h.dir()) {
			before[name], _ = os.Stat(name)
		}
		h.put(1)
		for name, info := range before {
			if now, err := os.Stat(name); err != nil || !os.SameFile(info, now) {
				t.Errorf("%s was written again: %v", name, err)
			}
		}
		entries, err := os.ReadDir(h.dir())
		must(t, err)
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), suffix) {
				t.Errorf("%s was left there", e.Name())
			}
		}
		h.wantNothingLost()
	})
}

// Between two syncs there are readings that were accepted and are in no file that counts.
func TestFailedRestoreNamesUnsyncedReadingsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{Sync: time.Hour})
		h.put(5)
		synctest.Wait()
		removeDirectory(t, h.state)
		must(t, os.WriteFile(h.state, nil, 0o600))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		named := fmt.Sprintf("pending readings %s-1-5 are lost if", h.epoch)
		if !slices.ContainsFunc(h.warnings, func(w string) bool { return strings.Contains(w, named) }) {
			t.Errorf("it warns %q", h.warnings)
		}
	})
}

// On a file system whose inode numbers change, each check fails. Restoring does not take all the time.
func TestRestoringTakesATenthOfTheTime(t *testing.T) {
	slow.Test(t)
	synctest.Test(t, func(t *testing.T) {
		var retakes atomic.Int64
		h := openFailing(t, func(op, name string) error {
			if op == "retake" {
				retakes.Add(1)
				time.Sleep(5 * time.Second) // so much is pending
			}
			return nil
		})
		h.handles.files.(*failing).Files = moving{h.handles.files.(*failing).Files}
		for range 600 {
			_, _ = h.Put(t.Context(), of("x"), Stamp{})
			time.Sleep(time.Second)
		}
		if retakes := retakes.Load(); retakes > 40 {
			t.Errorf("it was restored %d times in 600 s, for 5 s each", retakes)
		}
	})
}

// A moving directory has other files at each look.
type moving struct{ Files }

func (m moving) Verify(string, fs.FileInfo, int64) error { return statefile.ErrReplaced }

func (m moving) Retake() (Files, error) {
	fresh, err := m.Files.Retake()
	return moving{fresh}, err
}

// What a process that was killed was copying is removed at the next start.
func TestDraftsAreRemoved(t *testing.T) {
	h := openHomed(t, Options{})
	h.put(1)
	must(t, h.Close())
	draft := filepath.Join(h.dir(), segmentName(1)+draftSuffix)
	must(t, os.WriteFile(draft, []byte("half"), 0o600))
	l, err := Open(h.dir(), Options{})
	must(t, err)
	must(t, l.Close())
	if _, err := os.Stat(draft); err == nil {
		t.Error("it is still there")
	}
}

// Nothing leaks, however often the directory is replaced.
func TestThousandRestoresLeakNoFile(t *testing.T) {
	slow.Test(t)
	open := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(names)
	}
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{})
		h.put(10)
		synctest.Wait()
		before := open()
		for i := range 1000 {
			must(t, os.Rename(h.state, fmt.Sprint(h.state, i)))
			time.Sleep(2 * time.Second)
			synctest.Wait()
			removeDirectory(t, fmt.Sprint(h.state, i))
		}
		if now := open(); now > before+maxOpenFiles {
			t.Errorf("%d files are open, and %d were before", now, before)
		}
		want(t, "missing", h.wantNothingLost(), 0)
	})
}

// The copy has a reading that was written and not accepted yet. It is this log's own.
func TestCopyMadeDuringAWriteIsUsed(t *testing.T) {
	for _, before := range []int{0, 1} { // readings in the file
		synctest.Test(t, func(t *testing.T) {
			var h *homed
			syncs := 0
			h = openFailing(t, func(op, name string) error {
				if op == "sync" && name == segmentName(1) {
					if syncs++; syncs == before+1 {
						return replaceByCopy(h.state)
					}
				}
				return nil
			})
			h.put(3)
			want(t, "named as missing", h.wantNothingLost(), 0)
		})
	}
}

// Readings that are open or in the old directory take no room on the disk that is full, so none is
// dropped to make some.
func TestRestoreOnAFullDiskDropsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		h := openFailing(t, func(op, _ string) error {
			if full.Load() && op == "create" {
				return syscall.ENOSPC
			}
			return nil
		})
		h.put(20)
		synctest.Wait()
		full.Store(true)
		removeDirectory(t, h.state)
		for range 5 {
			if id, err := h.Put(t.Context(), of("more"), Stamp{}); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Put returns %v, %v", id, err)
			}
			time.Sleep(time.Second)
		}
		full.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want(t, "named as missing", h.wantNothingLost(), 0)
	})
}

// A long outage makes many files, and a process may not open them all.
func TestLongOutageKeepsFewFilesOpen(t *testing.T) {
	slow.Test(t)
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{})
		h.put(500)
		synctest.Wait()
		h.handles.mu.Lock()
		n := len(h.handles.open)
		h.handles.mu.Unlock()
		if files := len(logs(h.dir())); n > maxOpenFiles || files < 2*maxOpenFiles {
			t.Errorf("of %d files %d are open, want at most %d", files, n, maxOpenFiles)
		}
		removeDirectory(t, h.state)
		h.put(1)
		if named := h.wantNothingLost(); named == 0 || named > 450 {
			t.Errorf("%d of 500 are named as missing", named)
		}
	})
}

// removeDirectory removes a directory when nothing else is left to do at this moment: an outbox that writes meanwhile
// would leave files in it.
func removeDirectory(t *testing.T, dir string) {
	t.Helper()
	synctest.Wait()
	must(t, os.RemoveAll(dir))
}
