//go:build unix

package main_test

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// emulate starts the emulator in a directory and returns the settings that it prints for a device.
func emulate(t *testing.T, dir string, args ...string) (cloud *process, exports string) {
	t.Helper()
	control := []string{"--control-port=0", "--control-file=" + filepath.Join(dir, "control.json")}
	c := command(t, nil, slices.Concat([]string{"emulator", "--port=0", "--retry-after=1s"}, control, args)...)
	c.Dir = dir
	cloud = start(t, c)
	said := cloud.stdout.await(cloud, 0, "export FAILOVER_CA_FILE=")
	return cloud, cloud.stdout.String()[:cloud.stdout.await(cloud, said, "\n")]
}

// A shell runs the exports unchanged, from another directory. The name of the emulator's directory
// needs quoting.
func TestDeviceRunsWithTheSettingsThatTheEmulatorPrints(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "it's a $HOME")
	must(t, os.Mkdir(dir, 0o700))
	cloud, exports := emulate(t, dir)
	p := start(t, inShell(command(t, nil, "run", "--telemetry-interval=50ms"), exports+`exec "$0" "$@"`))
	p.await("Connecting -> Connected")
	cloud.stdout.await(cloud, 0, "telemetry")
	p.terminate(0)
	cloud.terminate(0)

	// The output contains the group key, which is public, and the service keys that are derived from it. A
	// path and the name of a policy may look like a key.
	public := []string{emulator.DevelopmentGroupKey, "provisioningserviceowner"}
	for _, endpoint := range []string{"A", "B", emulator.TargetDPS} {
		key := base64.StdEncoding.EncodeToString(derived(string(development(t)), "service/"+endpoint))
		if public = append(public, key); !strings.Contains(exports, "SharedAccessKey="+key+"\n") {
			t.Errorf("no connection string of %s in\n%s", endpoint, exports)
		}
	}
	all := strings.ReplaceAll(cloud.stdout.String()+cloud.stderr.String(), filepath.Dir(dir), "")
	for _, word := range regexp.MustCompile(`[A-Za-z0-9+/]{22,}=*`).FindAllString(all, -1) {
		if key, err := base64.StdEncoding.DecodeString(word); err == nil && len(key) >= 16 &&
			!slices.Contains(public, word) {
			t.Errorf("%s may be a key", word)
		}
	}
	if !strings.Contains(exports, emulator.DevelopmentGroupKey) {
		t.Errorf("no key in\n%s", exports)
	}
}

func TestEmulatorWritesStoredMessagesToTheLedgerFile(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	dir := t.TempDir()
	cloud, exports := emulate(t, dir, "--ledger-file=ledger.jsonl")
	c := command(t, nil, "run", "--stdin")
	must(t, os.WriteFile(filepath.Join(c.Dir, ".env"), []byte(exports), 0o600))
	c.Stdin = strings.NewReader("{\"temp\":21.5}\n")
	p := start(t, c)
	p.wantExit(0)
	cloud.terminate(0)
	text, err := os.ReadFile(filepath.Join(dir, "ledger.jsonl"))
	must(t, err)
	var line struct {
		Device, Hub, MessageID string
		Properties             map[string]string
		Body                   []byte
	}
	if err := json.Unmarshal(text, &line); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if line.Device != "dev1" || line.Hub != "A" || line.MessageID != answers(t, p)[0].ID ||
		line.Properties["$.ct"] != "application/json" || string(line.Body) != `{"temp":21.5}` {
		t.Errorf("the ledger says %+v", line)
	}
}

func TestOutputOfTheEmulatorIsAValidEnvFile(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	_, exports := emulate(t, t.TempDir())
	c := command(t, nil, "run", "--no-telemetry")
	must(t, os.WriteFile(filepath.Join(c.Dir, ".env"), []byte(exports), 0o600))
	p := start(t, c)
	p.await("Connecting -> Connected")
	p.terminate(0)
}

func TestEmulatorRefusesUnsafeOrInvalidFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--host 192.0.2.1":             "--any-address",
		"--host example.com":           "--any-address",
		"--host 0.0.0.0":               "the address to which devices connect",
		"--host :: --any-address":      "the address to which devices connect",
		"--host= --any-address":        "--host is empty",
		"--retry-after 0s":             "--retry-after is 0s",
		"--retry-after -1s":            "--retry-after is -1s",
		"--retry-after 3":              "--retry-after",
		"--answer-delay -1s":           "--answer-delay is -1s",
		"--port -1":                    "--port is -1",
		"--port 65534":                 "--port is 65534",
		"--host [::]":                  "the address to which devices connect",
		"--host [2001:db8::1]":         "--any-address",
		"--own-addresses --host x y z": "--help",
		"--own-addresses --listen ::":  "leave --listen out",
		"--host emulator:8883":         "without a port",
		"--control-port -1":            "--control-port is -1",
		"--control-port 65536":         "--control-port is 65536",
		"--payload {":                  "--payload is not JSON",
	} {
		code, stdout, stderr := run(t, nil, append([]string{"emulator", "--port=0"}, strings.Fields(args)...)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("emulator %s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
	for _, host := range []string{
		"localhost", "LocalHost", "localhost.", "127.0.0.2", "::1", "[::1]", loopbackName(t),
	} {
		p := start(t, command(t, nil, "emulator", "--port=0", "--control-port=0", "--host", host))
		p.stdout.await(p, 0, "export FAILOVER_CA_FILE=")
		p.terminate(0)
	}
}

// loopbackName returns this machine's own name if it has only loopback addresses, as on Debian, or
// else localhost.
func loopbackName(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	must(t, err)
	addresses, err := net.LookupHost(name)
	if err != nil || slices.ContainsFunc(addresses, func(a string) bool { return !net.ParseIP(a).IsLoopback() }) {
		return "localhost"
	}
	return name
}

func TestPortInUseIsReportedWithTheFlagToChange(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	must(t, err)
	code, stdout, stderr := run(t, nil, "emulator", "--port", port)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "127.0.0.1:"+port) ||
		!strings.Contains(stderr, "another --port") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestEmulatorDoesNotWaitForTheReaderOfItsOutput(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	c := command(t, nil, "emulator", "--port=0", "--control-port=0", "--retry-after=1s")
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	c.Stdout = w
	cloud := start(t, c)
	var exports strings.Builder
	for !strings.Contains(exports.String(), "failover-ca.pem'\n") { // and no more than that
		b := make([]byte, 1024)
		n, err := r.Read(b)
		must(t, err)
		exports.Write(b[:n])
	}
	p := start(t, inShell(command(t, nil, "run", "--telemetry-interval=500us", "--log-level=debug"),
		exports.String()+`exec "$0" "$@"`))
	at := 0
	for range fill {
		at = p.awaitAfter(at, "delivered")
	}
	p.terminate(0)
	cloud.terminate(0)
}

func TestDemoThatIsEndedEarlyPrintsItsBalance(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	balance := regexp.MustCompile(
		`(?m)^Readings: ([1-9]\d*) accepted, (\d+) delivered, (\d+) missing, 0 delivered twice\.$`)
	t.Run("connected", func(t *testing.T) {
		t.Parallel()
		p := start(t, command(t, nil, "demo"))
		p.stdout.await(p, 0, "Connecting -> Connected")
		p.signal(syscall.SIGINT)
		p.wantExit(0)
		if m := balance.FindStringSubmatch(p.stderr.String()); m == nil || m[1] != m[2] || m[3] != "0" {
			t.Errorf("its balance: %s", &p.stderr)
		}
	})
	t.Run("before it is connected", func(t *testing.T) {
		t.Parallel()
		p := start(t, command(t, nil, "demo", "--watch", "--json"))
		p.stdout.await(p, 0, `"to":"Provisioning"`)
		p.signal(syscall.SIGTERM)
		// The device may already have accepted a reading, for which there is no hub yet.
		switch code := p.exit(); code {
		case 0:
			if !strings.Contains(p.stderr.String(), "Readings: 0 accepted, 0 delivered, 0 missing") {
				t.Errorf("its balance: %s", &p.stderr)
			}
		case 5:
			if m := balance.FindStringSubmatch(p.stderr.String()); m == nil || m[1] != m[3] {
				t.Errorf("its balance: %s", &p.stderr)
			}
		default:
			t.Errorf("exit code %d: %s", code, &p.stderr)
		}
	})
}

func TestScenariosAreListedShownAndChecked(t *testing.T) {
	t.Parallel()
	code, list, _ := run(t, nil, "scenario", "list")
	if code != 0 || !strings.Contains(list, "polite-failover") {
		t.Errorf("exit code %d, %s", code, list)
	}
	_, text, _ := run(t, nil, "scenario", "show", "polite-failover")
	good, bad := filepath.Join(t.TempDir(), "good.txt"), filepath.Join(t.TempDir(), "bad.txt")
	must(t, os.WriteFile(good, []byte(text), 0o600), os.WriteFile(bad, []byte("at 10s kil A\n"), 0o600))
	code, steps, _ := run(t, nil, "scenario", "show", "--steps", good)
	if code != 0 || !strings.Contains(steps, "25s  move B\n") {
		t.Errorf("exit code %d, %s", code, steps)
	}
	if code, stdout, stderr := run(t, nil, "scenario", "check", good); code != 0 || stdout+stderr != "" {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	if code, _, stderr := run(t, nil, "scenario", "check", good, bad); code != 1 ||
		!strings.Contains(stderr, `bad.txt: line 1: "kil" is not allowed here`) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}
