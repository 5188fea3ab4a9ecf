package statefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/statefile"
)

func TestZeroFileKeepsNothing(t *testing.T) {
	f := statefile.At("")
	var p pet
	ok, loading := f.Load(&p)
	if err := errors.Join(loading, f.Save(lizard), f.Remove()); ok || err != nil {
		t.Errorf("%t, %v", ok, err)
	}
	if f.Kept() || f.Path() != "" || f.Peek(&p) {
		t.Errorf("it is kept as %q", f.Path())
	}
}

func TestPathsOfADirectoryAndOfItsFiles(t *testing.T) {
	d := statefile.NewDir("state", nil, nil)
	if f := d.File("pet.json"); d.Path() != "state" || f.Path() != filepath.Join("state", "pet.json") || !f.Kept() {
		t.Errorf("%q, %q", d.Path(), f.Path())
	}
	if f := statefile.At("pet.json"); f.Path() != "pet.json" || !f.Kept() {
		t.Errorf("%q", f.Path())
	}
}

func TestRemovedFileIsGone(t *testing.T) {
	path, _ := saved(t, lizard)
	for range 2 { // the second time there is none
		if err := statefile.At(path).Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(path, "not empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := statefile.At(path).Remove(); err == nil {
		t.Error("a directory that is not empty was removed")
	}
}

func TestFileIsSetAsideForAReason(t *testing.T) {
	dir := acquired(t, t.TempDir())
	f := dir.File("pet.json")
	if err := f.Save(lizard); err != nil {
		t.Fatal(err)
	}
	reason := errors.New("it is of another device")
	err := f.SetAside("foreign", reason)
	if !errors.Is(err, reason) || !strings.Contains(err.Error(), "it was renamed to "+f.Path()+".foreign") {
		t.Errorf("SetAside returns %v", err)
	}
	wantLizard(t, f.Path()+".foreign")
	dir.Repair()
	if _, err := os.Stat(f.Path()); err == nil {
		t.Error("Repair has written it again")
	}
	if err := f.SetAside("foreign", reason); !errors.Is(err, reason) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file, SetAside returns %v", err)
	}
}

func TestPeekChangesNothing(t *testing.T) {
	path, _ := saved(t, lizard)
	var p pet
	if f := statefile.At(path); !f.Peek(&p) || p.Name != lizard.Name {
		t.Errorf("it reads %+v", p)
	}
	write(t, path, []byte("damaged"))
	if statefile.At(path).Peek(&p) {
		t.Error("a damaged file was read")
	}
	if text := read(t, path); string(text) != "damaged" {
		t.Errorf("the file is now %q", text)
	}
}

func TestGenerationCountsHowOftenADirectoryWasAcquired(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	d := statefile.NewDir(dir, nil, nil)
	if d.Generation() != 0 || d.Verify() == nil {
		t.Errorf("before: generation %d, %v", d.Generation(), d.Verify())
	}
	for want := 1; want <= 2; want++ {
		for range 2 { // the second time it is owned already
			if err := d.Acquire(); err != nil || d.Generation() != want {
				t.Errorf("generation %d, want %d, %v", d.Generation(), want, err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	d.Close()
	if d.Verify() == nil {
		t.Error("a closed directory is locked")
	}
}

func TestLockFileThatCannotBeLockedIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := statefile.NewDir(dir, nil, nil).Acquire(); err == nil || errors.Is(err, statefile.ErrLocked) {
		t.Errorf("Acquire returns %v", err)
	}
}

func TestCloseWritesWhatIsMissingAndWarnsIfItCannot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for _, inTheWay := range []bool{false, true} {
		var warnings []string
		d := statefile.NewDir(dir, nil, func(err error) { warnings = append(warnings, err.Error()) })
		if err := errors.Join(d.Acquire(), d.File("pet.json").Save(lizard), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
		if inTheWay {
			write(t, dir, nil)
		}
		d.Close()
		d.Close() // once is enough
		if inTheWay != (len(warnings) > 0) {
			t.Errorf("it warns %q", warnings)
		}
		if !inTheWay {
			wantLizard(t, filepath.Join(dir, "pet.json"))
		}
	}
}
