package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestDirectoryIsNotMadeInThePlaceOfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		// which would mean that the directory is there
		if err := system.MakeDir(dir); err == nil || errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
