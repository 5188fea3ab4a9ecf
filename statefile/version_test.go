package statefile_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/statefile"
)

func TestFileOfALaterVersionIsNamedAndLeftAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		v    map[string]any
		says string
	}{
		"the next format": {map[string]any{"version": 2, "name": "Lizzy"},
			"it has format 2, and this version reads format 1"},
		"a far format": {map[string]any{"name": []int{1}, "version": 17, "x": map[string]any{"y": 1}},
			"it has format 17"},
		"no number":           {map[string]any{"version": "2.1", "name": "Lizzy"}, "its format is not a number"},
		"a number with parts": {map[string]any{"version": 1.5, "name": "Lizzy"}, "its format is not a number"},
	} {
		t.Run(name, func(t *testing.T) {
			path, text := saved(t, c.v)
			var p pet
			ok, loading := statefile.At(path).Load(&p)
			for _, err := range []error{loading, statefile.Check(path)} {
				later := new(statefile.VersionError)
				if ok || !errors.As(err, &later) || later.Path != path || !strings.Contains(err.Error(), c.says) ||
					!strings.Contains(err.Error(), path+" was written by a later version of failover") {
					t.Errorf("%t, %v", ok, err)
				}
			}
			if files, _ := os.ReadDir(filepath.Dir(path)); !bytes.Equal(read(t, path), text) || len(files) != 1 {
				t.Errorf("it is now %q, beside %v", read(t, path), files)
			}
		})
	}
}

// A later version may put more into a file than this one would.
func TestFileThatIsTooLargeIsThatOfALaterVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pet.json")
	content := []byte(`{"name":"` + strings.Repeat("x", 2<<20) + `"`)
	write(t, path, fmt.Appendf(content, ",\n  \"checksum\": \"%08x\"\n}\n", crc32.ChecksumIEEE(content)))
	var p pet
	if ok, err := statefile.At(path).Load(&p); ok || !errors.As(err, new(*statefile.VersionError)) ||
		!strings.Contains(err.Error(), "larger") {
		t.Errorf("%t, %v", ok, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// What a later version has added is ignored, and gone once this one saves the file.
func TestUnknownMembersAreIgnored(t *testing.T) {
	path, _ := saved(t, map[string]any{"name": lizard.Name, "likes": lizard.Likes, "color": "green", "version": 1})
	wantLizard(t, path)
	if err := statefile.Check(path); err != nil {
		t.Error(err)
	}
	if err := statefile.At(path).Save(lizard); err != nil {
		t.Fatal(err)
	}
	if text := read(t, path); bytes.Contains(text, []byte("color")) {
		t.Errorf("it is %s", text)
	}
}

func TestDamagedFileHasNoVersion(t *testing.T) {
	path, text := saved(t, map[string]any{"name": "Lizzy", "version": 2})
	for i := range text {
		write(t, path, append(bytes.Clone(text[:i]), text[i+1:]...))
		if err := statefile.Check(path); err != nil {
			t.Fatalf("without byte %d: %v", i, err)
		}
	}
	wantDamaged(t, path, bytes.Replace(text, []byte("2"), []byte("3"), 1))
}

func TestErrorSaysWhichVersionHasWrittenAFile(t *testing.T) {
	for want, err := range map[string]statefile.VersionError{
		"f was written by a later version of failover (it has format 3, and this version reads format 2); " +
			"use that version, or another state directory": {Path: "f", Format: 3, Known: 2},
		"f was written by an earlier version of failover (it has format 1, and this version reads format 2); " +
			"use that version, or another state directory": {Path: "f", Format: 1, Known: 2},
		"f was written by a later version of failover (it is large); use that version, or another state directory": {
			Path: "f", Format: 2, Known: 2, Detail: "it is large",
		},
	} {
		if err.Error() != want {
			t.Errorf("it says %q, want %q", err.Error(), want)
		}
	}
	if err := statefile.Check(filepath.Join(t.TempDir(), "pet.json")); err != nil {
		t.Errorf("a missing file: %v", err)
	}
}
