package statefile_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/statefile"
)

// changes are what somebody may do to a directory that a process owns.
var changes = map[string]func(dir string) error{
	"removed": os.RemoveAll,
	"renamed": func(dir string) error { return os.Rename(dir, dir+".old") },
	"replaced by an empty one": func(dir string) error {
		return errors.Join(os.Rename(dir, dir+".old"),
			os.Mkdir(dir, 0o700))
	},
	"replaced by a copy": func(dir string) error {
		return errors.Join(os.Rename(dir, dir+".old"), os.CopyFS(dir, os.DirFS(dir+".old")))
	},
	"replaced by hard links": replaceByLinks,
	"without its lock":       func(dir string) error { return os.Remove(filepath.Join(dir, "lock")) },
}

func replaceByLinks(dir string) error {
	if err := errors.Join(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o700)); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir + ".old")
	for _, e := range entries {
		err = errors.Join(err, os.Link(filepath.Join(dir+".old", e.Name()), filepath.Join(dir, e.Name())))
	}
	return err
}

func TestReplacedDirectoryIsAcquiredAgainWithItsFiles(t *testing.T) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			var warnings []string
			d := statefile.NewDir(dir, nil, func(err error) { warnings = append(warnings, err.Error()) })
			if err := d.Acquire(); err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if err := d.File("pet.json").Save(lizard); err != nil {
				t.Fatal(err)
			}
			d.Repair()
			if err := d.Verify(); err != nil || len(warnings) > 0 {
				t.Fatalf("%v, %q", err, warnings)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if err := d.Verify(); !errors.Is(err, statefile.ErrReplaced) {
				t.Errorf("Verify returns %v", err)
			}
			d.Repair()
			if err := d.Verify(); err != nil {
				t.Error(err)
			}
			wantLizard(t, filepath.Join(dir, "pet.json"))
			if len(warnings) != 1 || !strings.Contains(warnings[0], "made and locked again") {
				t.Errorf("it warns %q", warnings)
			}
			if err := statefile.NewDir(dir, nil, nil).Acquire(); !errors.Is(err, statefile.ErrLocked) {
				t.Errorf("a second owner: %v", err)
			}
		})
	}
}

func TestDirectoryOfAnotherProcessIsNotTouched(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var warnings []string
	d := statefile.NewDir(dir, nil, func(err error) { warnings = append(warnings, err.Error()) })
	if err := d.Acquire(); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.File("pet.json").Save(lizard); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	other := acquired(t, dir)
	for range 3 {
		d.Repair()
		if err := d.File("pet.json").Save(lizard); !errors.Is(err, statefile.ErrLocked) {
			t.Errorf("Save returns %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "pet.json")); err == nil {
		t.Error("a file was written into the other's directory")
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "cannot be used") {
		t.Errorf("it warns %q", warnings)
	}
	other.Close()
	d.Repair()
	wantLizard(t, filepath.Join(dir, "pet.json"))
	if len(warnings) != 2 {
		t.Errorf("it warns %q", warnings)
	}
}

// The time is synthetic, so that the refusal took no time and Acquire asks again at once.
func TestDirectoryIsAcquiredOnlyIfAcceptAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		refusal := errors.New("not mine")
		answer := refusal
		d := statefile.NewDir(dir, func() error { return answer }, nil)
		if err := d.Acquire(); !errors.Is(err, refusal) {
			t.Errorf("Acquire returns %v", err)
		}
		acquired(t, dir).Close() // the lock was released
		answer = nil
		if err := d.Acquire(); err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		answer = refusal
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := d.File("pet.json").Save(lizard); !errors.Is(err, refusal) {
			t.Errorf("Save returns %v", err)
		}
	})
}

func TestRemovedOrChangedFileIsWrittenAgain(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"changed": func(path string) error { return os.WriteFile(path, []byte("{}"), 0o600) },
		"replaced": func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700),
				os.Remove(path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := acquired(t, t.TempDir())
			f := d.File("pet.json")
			if err := f.Save(lizard); err != nil {
				t.Fatal(err)
			}
			if err := change(f.Path()); err != nil {
				t.Fatal(err)
			}
			d.Repair()
			wantLizard(t, f.Path())
			if err := f.Remove(); err != nil {
				t.Fatal(err)
			}
			d.Repair()
			if _, err := os.Stat(f.Path()); err == nil {
				t.Error("a file that the owner removed was written again")
			}
		})
	}
}

func TestRepairLeavesFilesThatHoldTheirContent(t *testing.T) {
	d := acquired(t, t.TempDir())
	f := d.File("pet.json")
	if err := f.Save(lizard); err != nil {
		t.Fatal(err)
	}
	stat := func() os.FileInfo {
		info, err := os.Stat(f.Path())
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	wantSame := func(before os.FileInfo) {
		t.Helper()
		if d.Repair(); !os.SameFile(before, stat()) {
			t.Error("it was written again")
		}
	}
	wantSame(stat())
	text, old := read(t, f.Path()), f.Path()+".old"
	if err := os.Rename(f.Path(), old); err != nil {
		t.Fatal(err)
	}
	write(t, f.Path(), text)
	copied := stat()
	wantSame(copied)
	// Repair is called twice a second, so it does not read a file of the same size and time.
	write(t, f.Path(), bytes.Repeat([]byte("x"), len(text)))
	if err := os.Chtimes(f.Path(), time.Time{}, copied.ModTime()); err != nil {
		t.Fatal(err)
	}
	wantSame(copied)
	if got := read(t, f.Path()); got[0] != 'x' {
		t.Errorf("the file is now %q", got)
	}
	write(t, f.Path(), text[:len(text)-1])
	if err := os.Chtimes(f.Path(), time.Time{}, copied.ModTime()); err != nil {
		t.Fatal(err)
	}
	d.Repair()
	wantLizard(t, f.Path())
}

func TestRepairSavesAFileThatCouldNotBeSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	d := acquired(t, dir)
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := d.File("pet.json").Save(lizard); err == nil {
		t.Error("it was saved in a file")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	d.Repair()
	wantLizard(t, filepath.Join(dir, "pet.json"))
}

// Whoever replaces the directory again each time that it was locked must not exhaust the stack.
func TestDirectoryThatIsReplacedAgainAndAgainIsAnError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	times := 0
	d := statefile.NewDir(dir, func() error {
		if times++; times > 1 && times < 100 {
			return os.Rename(dir, fmt.Sprint(dir, times))
		}
		return nil
	}, nil)
	if err := d.Acquire(); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f := d.File("pet.json")
	if err := f.Save(lizard); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(lizard); !errors.Is(err, statefile.ErrReplaced) {
		t.Errorf("Save returns %v", err)
	}
	if times > 3 {
		t.Errorf("it was locked %d times for one Save", times)
	}
}

func TestClosedDirectoryIsNotLockedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	d := statefile.NewDir(dir, nil, nil)
	if err := d.Acquire(); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if err := d.File("pet.json").Save(lizard); err == nil {
		t.Error("a file was saved after Close")
	}
	d.Repair()
	acquired(t, dir)
}

// To accept may take long, for it may read all that is pending.
func TestAcceptIsNotCalledAgainAtOnceAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, asked := filepath.Join(t.TempDir(), "state"), 0
		refusal := errors.New("not mine")
		d := statefile.NewDir(dir, func() error {
			asked++
			time.Sleep(time.Second)
			return refusal
		}, nil)
		for range 120 {
			if err := d.Acquire(); !errors.Is(err, refusal) {
				t.Fatalf("Acquire returns %v", err)
			}
			time.Sleep(statefile.RepairInterval)
		}
		if asked > 8 {
			t.Errorf("in a minute it was read %d times, for a second each", asked)
		}
	})
}

// A file that cannot be written says nothing about readings, which go on where they are.
func TestRepairWarnsAboutAFileThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var warnings []string
	d := statefile.NewDir(dir, nil, func(err error) { warnings = append(warnings, err.Error()) })
	if err := d.Acquire(); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f := d.File("pet.json")
	if err := f.Save(lizard); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(f.Path()), os.MkdirAll(filepath.Join(f.Path(), "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	d.Repair()
	d.Repair()
	if len(warnings) != 1 || !strings.Contains(warnings[0], "files in "+dir+" cannot be written") {
		t.Errorf("it warns %q", warnings)
	}
	if err := os.RemoveAll(f.Path()); err != nil {
		t.Fatal(err)
	}
	d.Repair()
	wantLizard(t, f.Path())
	if len(warnings) != 2 || !strings.Contains(warnings[1], "can be used again") {
		t.Errorf("it warns %q", warnings)
	}
}
