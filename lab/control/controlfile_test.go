package control_test

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/control"
	"giantlizard.example/failover/lab/slow"
)

func listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

func TestTheControlFileIsReadableOnlyByItsOwner(t *testing.T) {
	w := onSockets(t)
	path := filepath.Join(t.TempDir(), "new", "emulator.json")
	if err := w.server.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantJSON(t, json.RawMessage(text),
		string(jsonOf(map[string]string{"url": w.server.URL(), "token": w.server.Token(), "ca": string(w.CAPEM())})))
	for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): os.ModeDir | 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if all, _ := os.ReadDir(filepath.Dir(path)); len(all) != 1 {
		t.Errorf("beside it there are %v", all)
	}
	if err := w.server.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
}

func TestTheControlFileOfARunningEmulatorIsNotReplaced(t *testing.T) {
	first, second := onSockets(t), onSockets(t)
	path := filepath.Join(t.TempDir(), "emulator.json")
	if err := first.server.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	var running *control.RunningError
	if err := second.server.WriteFile(path); !errors.As(err, &running) || running.URL != first.server.URL() {
		t.Errorf("Announce returns %v", err)
	}
	if now, _ := os.ReadFile(path); string(now) != string(before) {
		t.Errorf("the file says %s", now)
	}
	second.server.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the other's end has removed it: %v", err)
	}
}

// An emulator replaces the file of a killed one. Only the emulator that wrote the file last removes it.
func TestCloseKeepsTheControlFileOfALaterEmulator(t *testing.T) {
	first, second := onSockets(t), onSockets(t)
	path := filepath.Join(t.TempDir(), "emulator.json")
	if err := os.WriteFile(path, []byte("an old one, for everybody"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, w := range []world{first, second} {
		if err := w.server.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(path)
		// no emulator accepts this token
		dead := strings.ReplaceAll(string(text), w.server.Token(), strings.Repeat("0", 64))
		if w.server == first.server {
			if err := os.WriteFile(path, []byte(dead), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	first.server.Close()
	var announced struct{ URL string }
	text, err := os.ReadFile(path)
	if json.Unmarshal(text, &announced); err != nil || announced.URL != second.server.URL() {
		t.Errorf("it says %q, %v", announced.URL, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	os.Remove(path)
	if err := second.server.Close(); err != nil { // the file was removed meanwhile
		t.Error(err)
	}
}

// All of them find the same file, of an emulator that does not run.
func TestOneOfSeveralStartingEmulatorsGetsTheControlFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "emulator.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var worlds []world
	for range 8 {
		worlds = append(worlds, onSockets(t))
	}
	errs := make(chan error, len(worlds))
	for _, w := range worlds {
		go func() { errs <- w.server.WriteFile(path) }()
	}
	got := 0
	for range worlds {
		var running *control.RunningError
		switch err := <-errs; {
		case err == nil:
			got++
		case !errors.As(err, &running):
			t.Error(err)
		}
	}
	if all, _ := os.ReadDir(filepath.Dir(path)); got != 1 || len(all) != 1 {
		t.Errorf("%d have it; there are %v", got, all)
	}
}

// The kernel accepts connections for a suspended process.
func TestTheControlFileOfASuspendedEmulatorIsNotReplaced(t *testing.T) {
	slow.Test(t)
	w := onSockets(t)
	suspended, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer suspended.Close()
	url := "https://" + suspended.Addr().String()
	path := filepath.Join(t.TempDir(), "emulator.json")
	text := jsonOf(map[string]string{"url": url, "token": "x", "ca": string(w.CAPEM())})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var running *control.RunningError
	if err := w.server.WriteFile(path); !errors.As(err, &running) || running.URL != url {
		t.Errorf("Announce returns %v", err)
	}
}

func TestOnlyRegularFilesAreReplaced(t *testing.T) {
	w := onSockets(t)
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{link, dir, "/dev/null/x"} {
		if err := w.server.WriteFile(path); err == nil {
			t.Errorf("%s was written", path)
		}
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info, err)
	}
}

func TestAFileThatCannotBeWrittenIsAnError(t *testing.T) {
	w := onSockets(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "file", "emulator.json"), dir} {
		if err := w.server.WriteFile(path); err == nil {
			t.Errorf("%s was written", path)
		}
	}
}

func TestTheFileIsInTheUsersCache(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	t.Setenv("XDG_CACHE_HOME", "")
	cache, _ := os.UserCacheDir()
	if file, err := control.DefaultFile(); file != filepath.Join(cache, "failover", "emulator.json") || err != nil {
		t.Errorf("%s, %v", file, err)
	}
	t.Setenv("HOME", "")
	if _, err := control.DefaultFile(); err == nil {
		t.Error("there is no home, and no error")
	}
}
