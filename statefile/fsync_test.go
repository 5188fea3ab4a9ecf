//go:build unix

package statefile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// looksOn is the operating system's fsync, and hears of each file before it is synced.
func looksOn(heard func(path string)) Fsync {
	return func(f *os.File) error {
		heard(f.Name())
		return f.Sync()
	}
}

func TestTheOperatingSystemSyncs(t *testing.T) {
	_, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if system(pipe) == nil {
		t.Error("a pipe is said to be synced, and no operating system can do that")
	}
}

func TestTheNameOfEachDirectoryThatIsMadeIsSynced(t *testing.T) {
	for name, mk := range map[string]func(Fsync, string) error{
		"for a log":  Fsync.MakeDir,
		"for a file": func(sync Fsync, dir string) error { return sync.replace(filepath.Join(dir, "pet.json"), nil) },
		"for a lock": func(sync Fsync, dir string) error {
			unlock, err := sync.lock(dir)
			if err == nil {
				unlock()
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			there := t.TempDir()
			dir := filepath.Join(there, "one", "two")
			for _, want := range [][]string{{there, filepath.Join(there, "one")}, nil} { // the second time there is nothing to make
				var synced []string
				look := looksOn(func(path string) {
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

func TestAFileIsSyncedBeforeItTakesThePlaceOfTheOldOneAndItsNameAfter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pet.json")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	type moment struct{ synced, there string }
	var moments []moment
	look := looksOn(func(what string) {
		if what != dir {
			text, _ := os.ReadFile(what)
			what = string(text)
		}
		there, _ := os.ReadFile(path)
		moments = append(moments, moment{what, string(there)})
	})
	if err := look.replace(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if want := []moment{{"new", "old"}, {dir, "new"}}; !slices.Equal(moments, want) {
		t.Errorf("synced while there was: %q, want %q", moments, want)
	}
}

func TestWhatCannotBeSyncedIsNotSaved(t *testing.T) {
	for i, left := range []string{"old", "new"} { // the file, and then its name
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
		if err := fails.replace(path, []byte("new")); !errors.Is(err, syscall.EIO) {
			t.Errorf("sync %d failed, and saving returns %v", i+1, err)
		}
		if text, err := os.ReadFile(path); string(text) != left {
			t.Errorf("sync %d failed, and %q is there, %v", i+1, text, err)
		}
	}
}
