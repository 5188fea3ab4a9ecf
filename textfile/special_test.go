//go:build unix

package textfile_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"giantlizard.example/failover/textfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFileThatIsNotRegularIsRefusedAtOnce(t *testing.T) {
	fifo, socket := filepath.Join(t.TempDir(), "fifo"), filepath.Join(t.TempDir(), "s")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(fifo, link); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]string{
		fifo: "named pipe", link: "named pipe", socket: "socket", t.TempDir(): "directory", "/dev/zero": "device",
	} {
		want := name + " is no regular file: it is a " + kind
		if _, err := textfile.Read(name, 100); err == nil || err.Error() != want {
			t.Errorf("Read: %v; want %s", err, want)
		}
		if _, err := textfile.Open(name); err == nil || err.Error() != want {
			t.Errorf("Open: %v; want %s", err, want)
		}
	}
}

// As bash hands over the output of <(command).
func TestPipeOfTheShellIsReadWithinTheLimit(t *testing.T) {
	for text, want := range map[string]string{"\ufeffkey\n": "key\n", strings.Repeat("a", 101): ""} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, err = w.WriteString(text)
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("/dev/fd/%d", r.Fd())
		if got, err := textfile.Read(name, 100); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
		if !textfile.OnlyOnce(name) {
			t.Errorf("%s could be read again, it says", name)
		}
	}
	if textfile.OnlyOnce("/etc/failover/group.key") {
		t.Error("a file could be read only once, it says")
	}
}
