package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

func TestTheNameOfEachDirectoryThatIsMadeIsSynced(t *testing.T) {
	there := t.TempDir()
	dir := filepath.Join(there, "one", "two")
	for _, want := range [][]string{{there, filepath.Join(there, "one")}, nil} { // the second time there is nothing to make
		var synced []string
		if err := makeDir(dir, func(above string) error { synced = append(synced, above); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(synced, want) {
			t.Errorf("synced %q, want %q", synced, want)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestWhereAFileIsNoDirectoryIsMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if err := MakeDir(dir); err == nil || errors.Is(err, fs.ErrExist) { // which would mean that the directory is there
			t.Errorf("%s: %v", dir, err)
		}
	}
}
