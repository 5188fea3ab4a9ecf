//go:build unix

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// The terminal sends SIGHUP when it closes, and the shell sends it again.
func TestClosingTheTerminalEndsTheDeviceCleanly(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	t.Run("with a hub", func(t *testing.T) {
		t.Parallel()
		cloud := newCloud(t)
		c := command(t, deviceEnv(t, cloud), "run", "--stdin", "--window=1", "--durability=memory")
		in, out, err := os.Pipe()
		must(t, err)
		defer out.Close()
		c.Stdin = in
		p := start(t, c)
		in.Close()
		p.await("-> Connected")
		_, err = out.WriteString(strings.Repeat("1\n", 300))
		must(t, err)
		p.stdout.await(p, 0, `-300"}`)
		p.signal(syscall.SIGHUP)
		p.await("Connected -> Closing on close")
		_ = p.cmd.Process.Signal(syscall.SIGHUP) // it may have ended
		p.wantExit(0)
		if n := len(cloud.Ledger()); n != 300 {
			t.Errorf("%d of 300 accepted readings were delivered", n)
		}
	})
	t.Run("without one", func(t *testing.T) {
		t.Parallel()
		cloud := newCloud(t)
		p := device(t, cloud, "--durability=memory")
		waitReadings(t, cloud, "A", 1)
		must(t, cloud.StopDPS(), cloud.KillHub("A", emulator.FIN))
		p.awaitAfter(p.awaitAfter(0, "Connected -> Failover"), "taken ")
		p.signal(syscall.SIGHUP)
		p.wantExit(5)
		if !strings.Contains(p.stderr.String(), "failover: machine: readings were lost: ") {
			t.Errorf("it does not say what was lost:\n%s", &p.stderr)
		}
	})
}

// The signals come as when systemd ends a session. The hub receives nothing meanwhile.
func TestSIGHUPIsNotOneOfTheTwoSignalsThatEndAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		signals []syscall.Signal
		code    int
	}{
		"twice and SIGTERM once": {[]syscall.Signal{syscall.SIGHUP, syscall.SIGHUP, syscall.SIGTERM}, 0},
		"behind SIGTERM":         {[]syscall.Signal{syscall.SIGTERM, syscall.SIGHUP}, 0},
		"and two others":         {[]syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud, network := freezingCloud(t)
			p := start(t, command(t, deviceEnv(t, cloud), append(ignoresSilence, "--close-timeout=1h")...))
			p.await("delivered")
			network.freeze(t)
			thaw := sync.OnceFunc(network.thaw)
			defer thaw()
			for i, s := range c.signals {
				if p.signal(s); i == 0 {
					p.await("Connected -> Closing")
				}
			}
			if c.code == 0 {
				thaw()
			}
			p.wantExit(c.code)
		})
	}
}

func TestNohupKeepsTheDeviceRunning(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p := start(t, inShell(command(t, deviceEnv(t, cloud), "run"), `trap "" HUP; exec "$0" "$@"`))
	at := p.awaitAfter(0, "delivered")
	p.signal(syscall.SIGHUP)
	for range 3 {
		at = p.awaitAfter(at, "delivered")
	}
	p.terminate(0)
}

func TestClosingTheTerminalEndsTheLabCommandsCleanly(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	t.Run("emulator", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		cloud, _ := emulate(t, dir)
		cloud.signal(syscall.SIGHUP)
		cloud.wantExit(0)
		if _, err := os.Stat(filepath.Join(dir, "control.json")); !os.IsNotExist(err) {
			t.Errorf("the control file with the token is left: %v", err)
		}
	})
	t.Run("demo", func(t *testing.T) {
		t.Parallel()
		p := start(t, command(t, nil, "demo"))
		p.stdout.await(p, 0, "Connecting -> Connected")
		p.signal(syscall.SIGHUP)
		p.wantExit(0)
		if !strings.Contains(p.stderr.String(), "Readings: ") {
			t.Errorf("there is no balance in\n%s", &p.stderr)
		}
	})
	t.Run("drill", func(t *testing.T) {
		t.Parallel()
		ended := filepath.Join(t.TempDir(), "ended")
		begun := filepath.Join(t.TempDir(), "begun")
		must(t, syscall.Mkfifo(begun, 0o600))
		p := start(t, command(t, []string{"TMPDIR=" + t.TempDir()}, "drill", "--scenario", "bad-day", "--client",
			`trap "touch '`+ended+`'; exit 0" TERM; echo > '`+begun+`'; while :; do sleep 0.1; done`))
		f, err := os.Open(begun) // waits for the client
		must(t, err)
		f.Close()
		p.signal(syscall.SIGHUP)
		p.wantExit(1)
		if _, err := os.Stat(ended); err != nil {
			t.Errorf("the client was not ended by SIGTERM: %v", err)
		}
	})
}

func TestSIGQUITPrintsTheGoroutines(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p := device(t, cloud)
	p.await("delivered")
	p.signal(syscall.SIGQUIT)
	p.exit()
	if !strings.Contains(p.stderr.String(), "SIGQUIT: quit") || !strings.Contains(p.stderr.String(), "goroutine ") {
		t.Errorf("it says:\n%s", &p.stderr)
	}
}
