package statefile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/statefile"
)

// acquired returns a directory that the test owns.
func acquired(t *testing.T, path string) *statefile.Dir {
	t.Helper()
	d := statefile.NewDir(path, nil, nil)
	if err := d.Acquire(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestDirectoryHasOneOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first := acquired(t, dir)
	// a lock of its own, as another process would have
	if err := statefile.NewDir(dir, nil, nil).Acquire(); !errors.Is(err, statefile.ErrLocked) {
		t.Errorf("it was locked twice: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "lock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	first.Close()
	acquired(t, dir)
}

func TestAcquireRemovesOnlyUnfinishedFiles(t *testing.T) {
	path, _ := saved(t, lizard)
	dir := filepath.Dir(path)
	for _, name := range []string{"pet.json.new3141592653", "pet.json.damaged", "pet.json.foreign"} {
		write(t, filepath.Join(dir, name), []byte("half a liz"))
	}
	acquired(t, dir)
	wantLizard(t, path)
	var names []string
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		names = append(names, f.Name())
	}
	if got := strings.Join(names, " "); got != "lock pet.json pet.json.damaged pet.json.foreign" {
		t.Errorf("there are %s", got)
	}
}

// Their names mean nothing but themselves.
func TestNameOfADirectoryIsNoPattern(t *testing.T) {
	all := t.TempDir()
	for _, name := range []string{"a", "[ab]", "*"} {
		dir := filepath.Join(all, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "pet.json.new1"), []byte("half a liz"))
	}
	for _, name := range []string{"[ab]", "*"} {
		acquired(t, filepath.Join(all, name))
		if _, err := os.Stat(filepath.Join(all, name, "pet.json.new1")); err == nil {
			t.Errorf("%s was not cleared", name)
		}
	}
	if _, err := os.Stat(filepath.Join(all, "a", "pet.json.new1")); err != nil {
		t.Errorf("what another process is writing is gone: %v", err)
	}
}

func TestDirectoryThatCannotBeMadeIsNotReportedAsLocked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	if err := statefile.NewDir(filepath.Join(file, "state"), nil, nil).Acquire(); err == nil ||
		errors.Is(err, statefile.ErrLocked) {
		t.Error(err)
	}
}
