//go:build unix

package main_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// unread returns a pipe that is open for reading but never read.
func unread(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return w
}

// broken returns a pipe whose reading end is closed.
func broken(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err, r.Close())
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// fill is a number of readings whose log lines fill a pipe and all buffers before it.
const fill = 3000

func TestDeviceKeepsRunningWhenNobodyReadsItsLog(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	c := command(t, deviceEnv(t, cloud), "run", "--telemetry-interval=500us")
	pipe := unread(t)
	c.Stdout, c.Stderr = pipe, pipe
	p := start(t, c)
	waitReadings(t, cloud, "A", fill)
	must(t, cloud.KillHub("A", emulator.FIN, emulator.WithMove))
	waitReadings(t, cloud, "B", 1)
	p.terminate(0)
}

func TestDeviceKeepsRunningWhenItsLogPipeIsClosed(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	c := command(t, deviceEnv(t, cloud), "run")
	pipe := broken(t)
	c.Stdout, c.Stderr = pipe, pipe
	p := start(t, c)
	waitReadings(t, cloud, "A", 1)
	must(t, cloud.KillHub("A", emulator.FIN, emulator.WithMove))
	waitReadings(t, cloud, "B", 1)
	p.terminate(0)
}

func TestDeviceRunsWithoutStandardStreams(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p := start(t, inShell(command(t, deviceEnv(t, cloud), "run"), `exec "$0" "$@" <&- >&- 2>&-`))
	waitReadings(t, cloud, "A", 3)
	p.terminate(0)
}

func TestErrorThatNobodyReadsDelaysNothing(t *testing.T) {
	slow.Test(t)
	c := command(t, nil, "run")
	pipe := unread(t)
	must(t, fillUp(pipe))
	c.Stderr = pipe
	start(t, c).wantExit(2)
}

// fillUp writes until the pipe is full.
func fillUp(pipe *os.File) error {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Write(func(fd uintptr) bool {
		for err := error(nil); err == nil; {
			_, err = syscall.Write(int(fd), make([]byte, 4096)) // until it would block
		}
		return true
	})
}

// A file that is opened while descriptors 0 to 2 are closed could get one of their numbers, and
// then receive the output.
func TestOutputToAClosedDescriptorReachesNoFile(t *testing.T) {
	t.Parallel()
	for name, redirect := range map[string]string{
		"standard output": ">&-", "standard error": "2>&-", "both": ">&- 2>&-", "all": "<&- >&- 2>&-",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := newCloud(t)
			state := t.TempDir()
			env := append(deviceEnv(t, cloud), "FAILOVER_STATE_DIR="+state)
			c := inShell(command(t, env, "run", "--stdin"), `exec "$0" "$@" `+redirect)
			c.Stdin = strings.NewReader("1\n2\n3\n")
			want := 3
			if strings.Contains(redirect, "<") {
				want = 0
			}
			p := start(t, c)
			p.wantExit(0)
			if n := len(cloud.Ledger()); n != want {
				t.Errorf("%d of %d readings delivered", n, want)
			}
			must(t, filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				text, err := os.ReadFile(path)
				if strings.Contains(string(text), `{"id":`) || strings.Contains(string(text), "Unprovisioned ->") {
					t.Errorf("%s holds what was printed: %s", path, text)
				}
				return err
			}))
		})
	}
}
