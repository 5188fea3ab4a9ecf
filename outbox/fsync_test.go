//go:build unix

package outbox

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// A witness is the operating system's fsync, and knows what a power cut would leave.
type witness struct {
	mu    sync.Mutex
	names map[string]bool  // were there when their directory was synced
	bytes map[string]int64 // the file had when it was synced
	fails string           // what cannot be synced
}

func (w *witness) sync(f *os.File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fails == f.Name() {
		return syscall.EIO
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w.bytes[f.Name()] = info.Size()
	below, _ := os.ReadDir(f.Name())
	for _, e := range below {
		w.names[filepath.Join(f.Name(), e.Name())] = true
	}
	return f.Sync()
}

// wantSafe wants every file of a directory to be left, and the names of the directories down to it.
func (w *witness) wantSafe(t *testing.T, root, dir string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Errorf("there is %v, %v", files, err)
	}
	for _, e := range files {
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if w.bytes[path] != info.Size() {
			t.Errorf("of the %d bytes of %s, %d are synced", info.Size(), e.Name(), w.bytes[path])
		}
		for ; path != root; path = filepath.Dir(path) {
			if !w.names[path] {
				t.Errorf("the name of %s is not synced", path)
			}
		}
	}
}

// witnessed opens a log that does as one does whose Files are not given.
func witnessed(t *testing.T, dir string) (*witness, *Log) {
	t.Helper()
	w := &witness{names: map[string]bool{}, bytes: map[string]int64{}}
	files := newDirectory(dir, nil)
	files.fsync = w.sync
	l, err := Open(dir, Options{Files: files, segmentSize: 200})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return w, l
}

func TestAcceptedReadingAndItsDirectoriesAreSynced(t *testing.T) {
	for name, c := range map[string]struct {
		dir  string
		made bool
	}{
		"in new directories":                    {"state/outbox", false},
		"in one that a killed process has made": {"outbox", true}, // and had no time to sync
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, c.dir)
			if c.made {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			w, l := witnessed(t, dir)
			for range 5 { // in some segments
				if _, err := l.Put(t.Context(), of("precious"), Stamp{}); err != nil {
					t.Fatal(err)
				}
				w.wantSafe(t, root, dir)
			}
			l.Peek(0)
			l.Quarantine(1, errors.New("bad"))
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			w.wantSafe(t, root, dir)
		})
	}
}

func TestReadingThatCannotBeSyncedIsNotAccepted(t *testing.T) {
	for _, fails := range []string{"", "outbox", "outbox/" + segmentName(1)} {
		root := t.TempDir()
		w, l := witnessed(t, filepath.Join(root, "outbox"))
		w.fails = filepath.Join(root, fails)
		if id, err := l.Put(t.Context(), of("precious"), Stamp{}); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s cannot be synced, and Put returns %v, %v", w.fails, id, err)
		}
		l.Close()
	}
}

func TestTheOperatingSystemSyncs(t *testing.T) {
	l, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if l.handles.files.(*directory).fsync(pipe) == nil {
		t.Error("a pipe is said to be synced, and no operating system can do that")
	}
}
