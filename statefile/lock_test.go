package statefile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"giantlizard.example/failover/statefile"
)

func TestADirectoryIsOneProcessesOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	unlock, err := statefile.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := statefile.Lock(dir); !errors.Is(err, statefile.ErrLocked) { // a lock of its own, as another process would have
		t.Errorf("it was locked twice: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "lock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	unlock()
	again, err := statefile.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestADirectoryThatCannotBeMadeIsNotTakenForALockedOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	if _, err := statefile.Lock(filepath.Join(file, "state")); err == nil || errors.Is(err, statefile.ErrLocked) {
		t.Error(err)
	}
}
