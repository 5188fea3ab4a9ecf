//go:build unix

package statefile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/statefile"
)

// specials put something without an end in the place of a file: reading it waits for ever, or fills the memory.
var specials = map[string]func(path string) error{
	"a named pipe":                func(path string) error { return syscall.Mkfifo(path, 0o600) },
	"a link to an endless device": func(path string) error { return os.Symlink("/dev/zero", path) },
}

// wantEnd fails the test if do does not return.
func wantEnd(t *testing.T, do func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() { defer close(ended); do() }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
	}
}

func TestPathWithoutARegularFileIsSetAsideAsDamaged(t *testing.T) {
	for name, put := range specials {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pet.json")
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			wantEnd(t, func() {
				if err := statefile.Check(path); err != nil || statefile.At(path).Peek(new(pet)) {
					t.Errorf("it is taken for a file: %v", err)
				}
				ok, err := statefile.At(path).Load(new(pet))
				if ok || err == nil || !strings.Contains(err.Error(), "not a regular file") {
					t.Errorf("Load returns %t, %v", ok, err)
				}
			})
			if _, err := os.Lstat(path + ".damaged"); err != nil {
				t.Error(err)
			}
			if err := statefile.At(path).Save(lizard); err != nil {
				t.Error(err)
			}
			wantLizard(t, path)
		})
	}
}

func TestFileThatBecomesSpecialIsWrittenAgain(t *testing.T) {
	for name, put := range specials {
		t.Run(name, func(t *testing.T) {
			d := acquired(t, t.TempDir())
			f := d.File("pet.json")
			if err := errors.Join(f.Save(lizard), os.Remove(f.Path()), put(f.Path())); err != nil {
				t.Fatal(err)
			}
			wantEnd(t, d.Repair)
			wantLizard(t, f.Path())
		})
	}
}

func TestLockThatIsNoRegularFileIsRefusedAtOnce(t *testing.T) {
	for name, put := range specials {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "lock")
			d := acquired(t, dir)
			if err := errors.Join(os.Remove(path), put(path)); err != nil {
				t.Fatal(err)
			}
			for _, d := range []*statefile.Dir{d, statefile.NewDir(dir, nil, nil)} { // while it runs, and at a start
				wantEnd(t, func() {
					if err := d.Acquire(); err == nil ||
						!strings.Contains(err.Error(), path+" is not a regular file; remove it") {
						t.Errorf("Acquire returns %v", err)
					}
				})
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := d.Acquire(); err != nil {
				t.Errorf("after its removal: %v", err)
			}
		})
	}
}

func TestDirectoryThatBecomesSpecialIsAnErrorAtOnce(t *testing.T) {
	for name, put := range specials {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			d := acquired(t, path)
			if err := errors.Join(d.File("pet.json").Save(lizard), os.RemoveAll(path), put(path)); err != nil {
				t.Fatal(err)
			}
			wantEnd(t, func() {
				if d.Repair(); d.Verify() == nil {
					t.Error("it is taken for a directory")
				}
				if err := statefile.Fsync((*os.File).Sync).Dir(path); err == nil {
					t.Error("it was synced")
				}
			})
		})
	}
}
