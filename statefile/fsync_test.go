//go:build unix

package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gofrs/flock"
)

// at returns a file in a directory with an Fsync of the test.
func at(path string, sync Fsync) File {
	f := At(path)
	f.dir.fsync = sync
	return f
}

// observed returns the fsync of the operating system, which calls a function with the path before
// each call.
func observed(before func(path string)) Fsync {
	return func(f *os.File) error {
		before(f.Name())
		return f.Sync()
	}
}

func TestOperatingSystemSyncs(t *testing.T) {
	_, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if system(pipe) == nil {
		t.Error("a pipe is said to be synced, and no operating system can do that")
	}
}

func TestNameOfEachNewDirectoryIsSynced(t *testing.T) {
	for name, mk := range map[string]func(Fsync, string) error{
		"for a log": Fsync.MakeDir,
		"for a file": func(sync Fsync, dir string) error {
			return at(filepath.Join(dir, "pet.json"), sync).Save(map[string]int{"a": 1})
		},
		"for a lock": func(sync Fsync, dir string) error {
			h, err := sync.hold(dir, nil)
			if err == nil {
				h.release(nil)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			there := t.TempDir()
			dir := filepath.Join(there, "one", "two")
			// the second time there is nothing to make
			for _, want := range [][]string{{there, filepath.Join(there, "one")}, nil} {
				var synced []string
				look := observed(func(path string) {
					if strings.HasPrefix(dir, path+"/") {
						synced = append(synced, path)
					}
				})
				if err := mk(look, dir); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(synced, want) {
					t.Errorf("synced %q, want %q", synced, want)
				}
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		})
	}
}

func TestFileIsSyncedBeforeTheRenameAndItsNameAfter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pet.json")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	type moment struct {
		isDir, isNew bool   // of what is synced
		there        string // in the file meanwhile
	}
	var moments []moment
	look := func(f *os.File) error {
		info, _ := f.Stat()
		there, _ := os.ReadFile(path)
		synced, _ := os.ReadFile(f.Name())
		moments = append(moments, moment{info.IsDir(), strings.Contains(string(synced), "new"), string(there)})
		return f.Sync()
	}
	if err := at(path, look).Save(map[string]string{"what": "new"}); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if want := []moment{{false, true, "old"}, {true, false, string(text)}}; !slices.Equal(moments, want) ||
		string(text) == "old" {
		t.Errorf("synced: %+v, want %+v", moments, want)
	}
}

func TestFileThatCannotBeSyncedIsNotSaved(t *testing.T) {
	for i, isNew := range []bool{false, true} { // the file, and then its name
		path := filepath.Join(t.TempDir(), "pet.json")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		count := 0
		fails := Fsync(func(*os.File) error {
			if count++; count > i {
				return syscall.EIO
			}
			return nil
		})
		if err := at(path, fails).Save(map[string]string{"what": "new"}); !errors.Is(err, syscall.EIO) {
			t.Errorf("sync %d failed, and saving returns %v", i+1, err)
		}
		if text, err := os.ReadFile(path); strings.Contains(string(text), "new") != isNew {
			t.Errorf("sync %d failed, and %q is there, %v", i+1, text, err)
		}
	}
}

func TestHoldingIsOfTheDirectoryWithTheLockedFile(t *testing.T) {
	locked, other, empty := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{locked, other} {
		h, err := system.hold(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer h.release(nil)
	}
	h := &holding{lock: flock.New(filepath.Join(locked, lockName))}
	if _, err := h.lock.TryLock(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]error{other: ErrReplaced, empty: fs.ErrNotExist} {
		if err := h.open(dir); !errors.Is(err, want) {
			t.Errorf("open returns %v, want %v", err, want)
		}
		h.release(h)
		if _, err := h.root.Stat("."); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("the directory is still open: %v", err)
		}
	}
	if err := h.open(filepath.Join(empty, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open returns %v", err)
	}
	h.release(nil) // without a directory
}
