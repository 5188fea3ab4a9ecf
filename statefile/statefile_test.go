package statefile_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/statefile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type pet struct {
	Name  string   `json:"name"`
	Likes []string `json:"likes"`
}

var lizard = pet{"Lizzy <&> 🦎", []string{"hubs", "data centers"}}

// saved is the path of a file in a directory that does not exist before, and what it says.
func saved(t *testing.T, v any) (path string, text []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "state", "pet.json")
	if err := statefile.At(path).Save(v); err != nil {
		t.Fatal(err)
	}
	return path, read(t, path)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantLizard(t *testing.T, path string) {
	t.Helper()
	var p pet
	if ok, err := statefile.At(path).Load(&p); !ok || err != nil || p.Name != lizard.Name || len(p.Likes) != 2 {
		t.Errorf("got %+v, %t, %v", p, ok, err)
	}
}

// wantDamaged checks that a file that says text is set aside as it is, and that this is said.
func wantDamaged(t *testing.T, path string, text []byte) {
	t.Helper()
	write(t, path, text)
	var p pet
	ok, err := statefile.At(path).Load(&p)
	if ok || err == nil || !strings.Contains(err.Error(), path+".damaged") {
		t.Fatalf("%q: got %+v, %t, %v", text, p, ok, err)
	}
	if kept := read(t, path+".damaged"); !bytes.Equal(kept, text) {
		t.Errorf("%q was set aside as %q", text, kept)
	}
	if ok, err := statefile.At(path).Load(&p); ok || err != nil {
		t.Errorf("and then: %t, %v", ok, err)
	}
}

func TestSavedFileIsLoadedAndOnlyItsOwnerMayReadIt(t *testing.T) {
	path, _ := saved(t, pet{Name: "another"})
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := statefile.At(path).Save(lizard); err != nil {
		t.Fatal(err)
	}
	wantLizard(t, path)
	for path, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestFileIsJSONThatAPersonCanRead(t *testing.T) {
	_, text := saved(t, pet{"Lizzy", []string{"hubs"}})
	want := "{\n  \"name\": \"Lizzy\",\n  \"likes\": [\n    \"hubs\"\n  ],\n  \"checksum\": \"5994d4e0\"\n}\n"
	if string(text) != want {
		t.Errorf("got %s", text)
	}
}

func TestMissingFileIsNoError(t *testing.T) {
	var p pet
	if ok, err := statefile.At(filepath.Join(t.TempDir(), "no", "pet.json")).Load(&p); ok || err != nil {
		t.Errorf("got %t, %v", ok, err)
	}
}

func TestEveryChangedRemovedOrAddedByteIsNoticed(t *testing.T) {
	slow.Test(t)
	path, good := saved(t, lizard)
	wantNoticed := func(text []byte) {
		t.Helper()
		write(t, path, text)
		if statefile.At(path).Peek(new(pet)) {
			t.Fatalf("%q was read", text)
		}
	}
	for i := range good {
		for bit := range 8 {
			text := bytes.Clone(good)
			text[i] ^= 1 << bit
			wantNoticed(text)
		}
		wantDamaged(t, path, good[:i])
		wantNoticed(good[i+1:])
		for _, more := range []string{" ", "\n", "{", string(good[i])} {
			wantNoticed([]byte(string(good[:i+1]) + more + string(good[i+1:])))
		}
		wantNoticed([]byte(string(good[:i]) + string(good[i+1:])))
	}
	write(t, path, good)
	if !statefile.At(path).Peek(new(pet)) {
		t.Error("the file itself was not read")
	}
}

func TestFileThatIsNoStateFileIsSetAside(t *testing.T) {
	path, good := saved(t, lizard)
	_, other := saved(t, map[string]int{"name": 1})
	_, another := saved(t, map[string]any{"epoch": "x"})
	for name, text := range map[string]string{
		"no bytes":               "",
		"JSON":                   `{"name":"Lizzy"}`,
		"two of them":            string(good) + string(good),
		"a seal alone":           ",\n  \"checksum\": \"00000000\"\n}\n",
		"values of another type": string(other),
		"members of another":     string(another),
		"CRLF":                   strings.ReplaceAll(string(good), "\n", "\r\n"),
		"zeros":                  string(make([]byte, len(good))),
		"too much":               strings.Repeat("x", 3<<20),
	} {
		t.Run(name, func(t *testing.T) { wantDamaged(t, path, []byte(text)) })
	}
}

func TestValueThatCouldNotBeLoadedIsNotSaved(t *testing.T) {
	path, good := saved(t, lizard)
	for name, v := range map[string]any{
		"too large": pet{Name: strings.Repeat("x", 1<<20)}, "no JSON": func() {}, "a string": "Lizzy",
		"a list":                    []int{1},
		"an object without members": struct{}{}, "nothing": nil,
	} {
		if err := statefile.At(path).Save(v); err == nil {
			t.Errorf("%s was saved", name)
		}
	}
	if text := read(t, path); !bytes.Equal(text, good) {
		t.Errorf("the file is now %.100q", text)
	}
}

func TestFileThatIndentingWouldMakeTooLargeIsNotIndented(t *testing.T) {
	deep := strings.Repeat("[", 20) + strings.Repeat("null,", 100_000) + "null" + strings.Repeat("]", 20)
	path, _ := saved(t, map[string]any{"name": "Lizzy", "deep": json.RawMessage(deep)})
	var got struct {
		Name string          `json:"name"`
		Deep json.RawMessage `json:"deep"`
	}
	if ok, err := statefile.At(path).Load(&got); !ok || err != nil || got.Name != "Lizzy" || string(got.Deep) != deep {
		t.Errorf("got %t, %v, %d bytes", ok, err, len(got.Deep))
	}
}

func TestLargestFileFitsToTheByte(t *testing.T) {
	_, text := saved(t, map[string]string{"name": ""})
	rest := 1<<20 - len(text) + len("\n   ") // the white space that a large file leaves out
	for length, fits := range map[int]bool{rest: true, rest + 1: false} {
		f := statefile.At(filepath.Join(t.TempDir(), "pet.json"))
		if err := f.Save(map[string]string{"name": strings.Repeat("x", length)}); (err == nil) != fits {
			t.Errorf("%d bytes: %v", len(text)+length, err)
		}
		var p pet
		if ok, err := f.Load(&p); ok != fits || err != nil {
			t.Errorf("%d bytes: %t, %v", len(text)+length, ok, err)
		}
	}
}

// Nothing can be written here, by any user.
func TestSaveReturnsAnErrorWhereNothingCanBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	directory := filepath.Join(t.TempDir(), "directory")
	if err := os.MkdirAll(filepath.Join(directory, "not empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path    string
		loading bool // fails too
	}{
		"below a file":             {filepath.Join(file, "pet.json"), true},
		"a directory in its place": {directory, true},
		"on a read-only system":    {"/proc/self/pet.json", false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := statefile.At(c.path).Save(lizard); err == nil {
				t.Error("saved")
			}
			var p pet
			if ok, err := statefile.At(c.path).Load(&p); ok || (err != nil) != c.loading {
				t.Errorf("load: %t, %v", ok, err)
			}
		})
	}
	if left, _ := filepath.Glob(directory + ".*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestDamagedFileStaysInAReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write anywhere")
	}
	path, _ := saved(t, lizard)
	write(t, path, []byte("damaged"))
	if err := os.Chmod(filepath.Dir(path), 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(path), 0o700)
	if err := statefile.At(path).Save(lizard); err == nil {
		t.Error("saved")
	}
	var p pet
	if ok, err := statefile.At(path).Load(&p); ok || err == nil ||
		!strings.Contains(err.Error(), "could not be renamed") {
		t.Errorf("load: %t, %v", ok, err)
	}
}
