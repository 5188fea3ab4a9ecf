//go:build unix

package main_test

import (
	"crypto/tls"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
)

// freePorts returns the first of n consecutive free ports, for an emulator that is restarted. Until the test
// ends, no other test gets them, not even one of a second run of the tests: the test listens on the port
// before them. All are below the ports that emulators take by themselves.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	const blocks, size, lowest = 500, 10, 10_000
	for _, block := range rand.Perm(blocks) {
		first := lowest + block*size
		guard, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(first))
		if err != nil {
			continue
		}
		if areFree(first+1, n) {
			t.Cleanup(func() { guard.Close() })
			return first + 1
		}
		guard.Close()
	}
	t.Skip("no ports are free")
	return 0
}

func areFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// The device has its CA file from the first emulator, and reconnects to the second.
func TestDeviceReconnectsToARestartedEmulator(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	dir, home := t.TempDir(), t.TempDir()
	port := strconv.Itoa(freePorts(t, 3))
	begin := func() *process {
		c := command(t, []string{"HOME=" + home}, "emulator", "--port", port, "--control-port=0", "--retry-after=1s")
		c.Dir = dir
		p := start(t, c)
		p.stdout.await(p, 0, "export FAILOVER_CA_FILE=")
		return p
	}
	cloud := begin()
	exports := cloud.stdout.String()[:cloud.stdout.await(cloud, 0, "failover-ca.pem'\n")]
	c := command(t, []string{"FAILOVER_HUB_WAIT=100ms", "FAILOVER_DPS_WAIT=100ms", "FAILOVER_LAST_WAIT=1s"}, "run",
		"--telemetry-interval=50ms")
	must(t, os.WriteFile(filepath.Join(c.Dir, ".env"), []byte(exports), 0o600))
	p := start(t, c)
	p.await("Connecting -> Connected")
	cloud.signal(syscall.SIGKILL)
	cloud.exit()
	at := p.awaitAfter(len(p.stderr.String()), "-> Failover")
	cloud = begin()
	p.awaitAfter(at, "Connecting -> Connected")
	if log := p.stderr.String(); strings.Contains(log, "CA file") || strings.Contains(log, "tls") {
		t.Errorf("it says\n%s", log)
	}
	p.terminate(0)
	cloud.terminate(0)
}

func TestEmulatorThatCannotStartWritesNoFiles(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { taken.Close() })
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for name, args := range map[string][]string{
		"the port is taken":         {"--port", port, "--control-port=0"},
		"the control port is taken": {"--port=0", "--control-port", port},
		"the control file cannot be written": {
			"--port=0", "--control-port=0", "--control-file", "/proc/self/no/file.json",
		},
		"the ledger file cannot be written": {"--port=0", "--control-port=0", "--ledger-file", "/proc/self/no/ledger"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			c := command(t, []string{"HOME=" + home}, append([]string{"emulator", "--data=data"}, args...)...)
			before := filepath.Join(c.Dir, "failover-ca.pem")
			must(t, os.WriteFile(before, []byte("of another"), 0o600))
			p := start(t, c)
			p.wantExit(1)
			if text, _ := os.ReadFile(before); string(text) != "of another" {
				t.Errorf("the CA file says %s", text)
			}
			if left, _ := filepath.Glob(filepath.Join(home, ".cache", "failover", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if left, _ := filepath.Glob(filepath.Join(home, ".local", "state", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if left, _ := filepath.Glob(filepath.Join(c.Dir, "*")); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Its devices read the file at each dial.
func TestCAFileOfARunningEmulatorIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir, home := t.TempDir(), t.TempDir()
	begin := func(args ...string) *process {
		c := command(t, []string{"HOME=" + home},
			append([]string{"emulator", "--port=0", "--control-port=0"}, args...)...)
		c.Dir = dir
		return start(t, c)
	}
	first := begin()
	first.stdout.await(first, 0, "export FAILOVER_CA_FILE=")
	before, err := os.ReadFile(filepath.Join(dir, "failover-ca.pem"))
	must(t, err)
	second := begin("--authority-file=" + filepath.Join(home, "another.pem"))
	second.wantExit(1)
	if text := second.stderr.String(); !strings.Contains(text, "give another file") {
		t.Errorf("it says %s", text)
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "failover-ca.pem")); string(now) != string(before) {
		t.Error("the CA file is another one")
	}
	first.terminate(0)
	third := begin("--authority-file=" + filepath.Join(home, "another.pem"))
	third.stdout.await(third, 0, "export FAILOVER_CA_FILE=")
	third.terminate(0)
}

func TestCAFileReplacesASymbolicLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "precious"), filepath.Join(dir, "failover-ca.pem")
	must(t, os.WriteFile(target, []byte("precious"), 0o600), os.Symlink(target, link))
	cloud, _ := emulate(t, dir)
	cloud.terminate(0)
	if text, _ := os.ReadFile(target); string(text) != "precious" {
		t.Errorf("the target says %s", text)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestTwoEmulatorsHaveTheirOwnControlFiles(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	home := t.TempDir()
	begin := func() (*process, string) {
		c := command(t, []string{"HOME=" + home}, "emulator", "--port=0", "--control-port=0", "--retry-after=1s")
		p := start(t, c)
		p.stdout.await(p, 0, "export FAILOVER_CA_FILE=")
		return p, p.stdout.String()
	}
	first, _ := begin()
	second, said := begin()
	file := filepath.Join(home, ".cache", "failover", "emulator.json")
	_, own, found := strings.Cut(said, "export FAILOVER_CONTROL_FILE='")
	own, _, _ = strings.Cut(own, "'")
	if !found || own == file {
		t.Fatalf("the second says\n%s", said)
	}
	list := func(p *process, env ...string) {
		t.Helper()
		code, _, stderr := run(t, append([]string{"HOME=" + home}, env...), "lizard", "kill", "A")
		if code != 0 {
			t.Errorf("exit code %d: %s", code, stderr)
		}
		p.stdout.await(p, 0, "lizard")
	}
	list(first)
	list(second, "FAILOVER_CONTROL_FILE="+own)
	// A second start with the same --control-file fails and does not change the file.
	before, err := os.ReadFile(file)
	must(t, err)
	code, _, stderr := run(t, []string{"HOME=" + home}, "emulator", "--port=0", "--control-port=0", "--control-file",
		file)
	if code != 1 || !strings.Contains(stderr, "give another file") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if now, _ := os.ReadFile(file); string(now) != string(before) {
		t.Errorf("the control file says %s", now)
	}
	second.terminate(0)
	list(first)
	first.terminate(0)
	if left, _ := filepath.Glob(filepath.Join(home, ".cache", "failover", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// As in a container, the emulator listens on all addresses and has a host name.
func TestEmulatorListensOnAnotherAddressThanItsHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, _, stderr := run(t, nil, "emulator", "--port=0", "--host=cloud.localhost",
		"--listen=0.0.0.0"); code != 2 || !strings.Contains(stderr, "--any-address") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	cloud, exports := emulate(t, dir, "--host=cloud.localhost", "--listen=0.0.0.0", "--any-address")
	if !strings.Contains(exports, "FAILOVER_PROVISIONING_HOST='cloud.localhost:") {
		t.Errorf("it says\n%s", exports)
	}
	var announced struct{ URL string }
	text, err := os.ReadFile(filepath.Join(dir, "control.json"))
	must(t, err, json.Unmarshal(text, &announced))
	host, port, err := net.SplitHostPort(strings.TrimPrefix(announced.URL, "https://"))
	must(t, err)
	if host != "cloud.localhost" {
		t.Errorf("the control API is at %s", announced.URL)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true}}
	answer, err := client.Get("https://127.0.0.2:" + port + "/ready")
	must(t, err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		t.Errorf("ready: %s", answer.Status)
	}
	// The device can resolve the name. The host names of the hubs are derived from --host too.
	p := start(t, inShell(command(t, nil, "run", "--telemetry-interval=50ms"), exports+`exec "$0" "$@"`))
	if _, err := net.LookupHost("cloud.localhost"); err != nil {
		t.Log("the rest is skipped: ", err)
	} else {
		p.await("Connecting -> Connected on connected at cloud.localhost:")
		p.terminate(0)
	}
	cloud.terminate(0)
}

// A twin and a queued command survive a kill of the emulator. Two emulators may not use the same
// directory.
func TestEmulatorKeepsItsDataAfterAKill(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	dir, home := t.TempDir(), t.TempDir()
	port := strconv.Itoa(freePorts(t, 3))
	args := []string{"emulator", "--port", port, "--control-port=0", "--retry-after=1s", "--data",
		filepath.Join(dir, "data")}
	begin := func() *process {
		c := command(t, []string{"HOME=" + home}, args...)
		c.Dir = dir
		p := start(t, c)
		p.stdout.await(p, 0, "export FAILOVER_CA_FILE=")
		return p
	}
	central := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := run(t, []string{"HOME=" + home}, append([]string{"central", "device"}, args...)...)
		if code != 0 {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
		return stdout
	}
	cloud := begin()
	exports := cloud.stdout.String()[:cloud.stdout.await(cloud, 0, "failover-ca.pem'\n")]
	env := filepath.Join(dir, "device.env")
	must(t, os.WriteFile(env, []byte(exports), 0o600))
	device := func() *process {
		p := start(t, command(t, []string{"HOME=" + home}, "run", "--env-file", env, "--property-interval=50ms"))
		p.await("Connecting -> Connected")
		return p
	}
	p := device()
	cloud.stdout.await(cloud, 0, "reported")
	p.terminate(0)
	central("manual-failover", "-d", "dev1")
	before := central("twin", "show", "-d", "dev1")
	time.Sleep(200 * time.Millisecond) // the data are written within 0.1 s
	cloud.signal(syscall.SIGKILL)
	cloud.exit()

	cloud = begin()
	if now := central("twin", "show", "-d", "dev1"); now != before || !strings.Contains(now, "battery") {
		t.Errorf("the twin is\n%s\nand was\n%s", now, before)
	}
	if code, _, stderr := run(t, []string{"HOME=" + home}, append(args, "--port=0")...); code != 1 ||
		!strings.Contains(stderr, "another process uses it") {
		t.Errorf("a second emulator with the same data: exit code %d: %s", code, stderr)
	}
	p = device()
	if !strings.Contains(cloud.stdout.String(), "hub B") {
		t.Errorf("the device is not connected to hub B:\n%s", &cloud.stdout)
	}
	p.terminate(0)
	cloud.terminate(0)
}
