package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What the child process of a test is to do, in this variable.
const childTask = "OUTBOX_TEST_DISK"

// TestFullDisk runs itself again as a process that has a tiny disk: a file system of
// 256 KiB in a namespace of its own, or, where that is not allowed, a limit to the size of a file.
func TestFullDisk(t *testing.T) {
	switch os.Getenv(childTask) {
	case "tiny":
		dir := t.TempDir()
		if err := syscall.Mount("none", dir, "tmpfs", 0, "size=256k"); err != nil {
			fmt.Println("cannot mount:", err)
			os.Exit(3)
		}
		defer syscall.Unmount(dir, syscall.MNT_DETACH)
		onATinyDisk(t, filepath.Join(dir, "outbox"), filepath.Join(dir, "ballast"))
		return
	case "limited":
		limit := syscall.Rlimit{Cur: 10_000, Max: 10_000}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Println("cannot limit the size of files:", err)
			os.Exit(3)
		}
		withALimit(t, t.TempDir())
		return
	}
	uid, gid := []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		[]syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	own := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: uid,
		GidMappings: gid}
	reason := child(t, "tiny", own)
	if reason != "" {
		t.Log("no tiny disk:", reason)
		if reason = child(t, "limited", nil); reason != "" {
			t.Skip("neither a tiny disk nor a limit: ", reason)
		}
	}
}

// child runs the calling test in a process of its own, and returns why that is not possible.
func child(t *testing.T, task string, attr *syscall.SysProcAttr) (reason string) {
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env, cmd.SysProcAttr = append(os.Environ(), childTask+"="+task), attr
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Logf("%s: %s", task, out)
	case !errors.As(err, &exit):
		return err.Error()
	case exit.ExitCode() == 3:
		return string(out)
	default:
		t.Errorf("%s: %v\n%s", task, err, out)
	}
	return ""
}

func onATinyDisk(t *testing.T, dir, ballast string) {
	var warnings []string
	dropped := uint64(0)
	o := Options{
		Warn: func(err error) { warnings = append(warnings, err.Error()) },
		Dropped: func(d Drop) {
			dropped += d.Numbers.Count()
			want(t, "the reason", d.Reason(), DiskFull)
		},
		segmentSize: 16 << 10,
	}
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	const count = 5000
	for range count { // 500 kB
		if _, err := l.Put(t.Context(), of(strings.Repeat("x", 70)), Stamp{}); err != nil {
			t.Fatal(err)
		}
	}
	readings, _ := l.Pending()
	want(t, "kept and dropped", uint64(readings)+dropped, uint64(count))
	// Now there is not a byte left, and Open and acknowledgements must do with that.
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if l, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	kept, _ := l.Pending()
	want(t, "kept after a restart", kept, readings)
	e, _ := l.Peek(0)
	want(t, "the oldest names", e.Reading.Properties[MissingProperty], fmt.Sprintf("1-%d", count-readings))
	for ok := true; ok; e, ok = l.Peek(0) {
		l.Remove(e.ID.N)
	}
	left, _ := l.Pending()
	want(t, "left", left, 0)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	id, err := l.Put(t.Context(), of("again"), Stamp{})
	if err != nil || id.N != count+1 {
		t.Errorf("Put gives %v, %v", id, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%d of %d readings were kept; it warned %q", readings, count, warnings)
}

// withALimit lets a segment grow beyond what a file may have; the log goes on in another.
func withALimit(t *testing.T, dir string) {
	l, err := Open(dir, Options{Limits: Limits{Full: Block}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 500 {
		if _, err := l.Put(context.Background(), of(strings.Repeat("x", 70)), Stamp{}); err != nil {
			t.Fatal(err)
		}
		if segments, err := filepath.Glob(filepath.Join(dir, "*"+suffix)); err != nil || len(segments) > 3 {
			break // two were full; each costs a second
		}
	}
	for e, ok := l.Peek(0); ok; e, ok = l.Peek(0) {
		l.Remove(e.ID.N)
	}
	if n, _ := l.Pending(); n != 0 {
		t.Errorf("%d wait", n)
	}
}
