//go:build unix

package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
)

// A terminal runs commands beside the emulator.
type terminal struct {
	t    *testing.T
	env  []string
	said string // all of it
}

// types runs a command, wants an exit code, and returns the output.
func (x *terminal) types(code int, args ...string) (stdout, stderr string) {
	x.t.Helper()
	got, stdout, stderr := run(x.t, x.env, args...)
	x.said += stdout + stderr
	if got != code {
		x.t.Fatalf("%q: exit code %d, want %d; its output:\n%s%s", args, got, code, stdout, stderr)
	}
	return stdout, stderr
}

// gets is types for a command that prints JSON.
func (x *terminal) gets(args ...string) map[string]any {
	x.t.Helper()
	stdout, _ := x.types(0, args...)
	var answer map[string]any
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		x.t.Fatalf("%q: %v in\n%s", args, err, stdout)
	}
	return answer
}

// moves is gets for a failover or a failback, of which it returns the hub's identifier.
func (x *terminal) moves(args ...string) string {
	x.t.Helper()
	answer := x.gets(args...)
	hub, _ := answer["hubIdentifier"].(string)
	if message, _ := answer["message"].(string); !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(hub) ||
		message == "" {
		x.t.Errorf("%q: %v", args, answer)
	}
	return hub
}

func TestEmulatorAtLocalhostIsFoundByEachOfItsNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cloud, _ := emulate(t, dir, "--host", "localhost")
	controlFile := filepath.Join(dir, "control.json")
	cloud.stdout.await(cloud, 0, "control.json")
	text, err := os.ReadFile(controlFile)
	must(t, err)
	var control struct{ URL string }
	must(t, json.Unmarshal(text, &control))
	for _, name := range []string{"localhost", "LocalHost", "127.0.0.1"} {
		address := strings.Replace(control.URL, "localhost", name, 1)
		code, _, stderr := run(t, []string{"FAILOVER_CONTROL_FILE=" + controlFile}, "central", "device", "show", "-d",
			"none", "--central-dns-suffix", address)
		if code != 1 || !strings.Contains(stderr, "404") {
			t.Errorf("%s: exit code %d, %s", address, code, stderr)
		}
	}
}

func TestCommandsInASecondTerminalMoveTheDeviceAndInjectFaults(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	controlFile := filepath.Join(t.TempDir(), "emulator.json")
	cloud, exports := emulate(t, t.TempDir(), "--control-port=0", "--control-file", controlFile)
	cloud.stdout.await(cloud, 0, controlFile)
	info, err := os.Stat(controlFile)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the control file has mode %v", info.Mode())
	}
	text, err := os.ReadFile(controlFile)
	must(t, err)
	var control struct{ URL, Token string }
	must(t, json.Unmarshal(text, &control))
	hubs := regexp.MustCompile(`Hub A is (\S+), hub B is (\S+)\.`).FindStringSubmatch(exports)[1:]
	p := start(t, inShell(command(t, nil, "run", "--property-interval=100ms", "--hub-wait=100ms", "--dps-wait=100ms",
		"--last-wait=1s"), exports+`exec "$0" "$@"`))
	p.await("Connecting -> Connected")

	x := &terminal{t: t, env: []string{"FAILOVER_CONTROL_FILE=" + controlFile, "FAILOVER=" + binary}}
	device := func(args ...string) []string {
		return append(append([]string{"central", "device"}, args...), "-d", "dev1")
	}
	x.showsDevice(device)
	a := x.moves(append(device("manual-failover"), "--ttl-minutes", "1")...)
	p.await("failed over from " + hubs[0] + " to " + hubs[1])
	if _, stderr := x.types(1, device("manual-failover")...); !strings.Contains(stderr, " answered 4") {
		t.Errorf("a second failover: %s", stderr)
	}
	b := x.moves(device("manual-failback")...)
	p.await("failed back from " + hubs[1] + " to " + hubs[0])
	if a == b {
		t.Errorf("both hubs are %s", a)
	}
	if _, stderr := x.types(1, device("manual-failback")...); !strings.Contains(stderr, " answered 4") {
		t.Errorf("a second failback: %s", stderr)
	}
	if _, stderr := x.types(1, "central", "device", "show", "-d", "nobody"); !strings.Contains(stderr,
		" answered 404 ") {
		t.Errorf("an unknown device: %s", stderr)
	}
	x.injectsFaults(t)
	script, err := filepath.Abs("../../scripts/failover.sh")
	must(t, err)
	_, port, _ := strings.Cut(strings.TrimPrefix(control.URL, "https://127."), ":")
	moved := start(t, scripted(t, x.env, script, "127", "dev1", "myapp", "0.0.1:"+port))
	moved.wantExit(0)
	if !strings.Contains(moved.stdout.String(), a) {
		t.Errorf("the script says %s", &moved.stdout)
	}

	p.terminate(0)
	cloud.terminate(0)
	if _, err := os.Stat(controlFile); !os.IsNotExist(err) {
		t.Errorf("the control file is left: %v", err)
	}
	if _, stderr := x.types(1, "lizard", "list"); !strings.Contains(stderr, "no emulator runs on this machine") {
		t.Errorf("without an emulator: %s", stderr)
	}
	if said := x.said + cloud.stdout.String() + cloud.stderr.String(); len(control.Token) < 32 ||
		strings.Contains(said, control.Token) {
		t.Errorf("the token is in\n%s", said)
	}
}

// showsDevice calls all commands that show a connected device.
func (x *terminal) showsDevice(device func(...string) []string) {
	x.t.Helper()
	if d := x.gets(device("show")...); d["id"] != "dev1" || d["provisioned"] != true || d["enabled"] != true {
		x.t.Errorf("the device is %v", d)
	}
	r := x.gets(device("registration-info")...)
	if info, _ := r["device_registration_info"].(map[string]any); r["@device_id"] != "dev1" ||
		info["device_status"] != "provisioned" {
		x.t.Errorf("its registration is %v", r)
	}
	for end := time.Now().Add(waitTimeout); ; { // it reports once it is connected
		if properties := x.gets(device("twin", "show")...); properties["battery"] != nil {
			break
		} else if time.Now().After(end) {
			x.t.Errorf("its properties are %v", properties)
			break
		}
	}
	answer := x.gets(append(device("command", "run"), "--cn", "echo", "-k", `{"request":"hello"}`)...)
	if answer["responseCode"] != 200.0 || answer["response"] == nil {
		x.t.Errorf("echo answers %v", answer)
	}
}

// injectsFaults injects faults and clears them.
func (x *terminal) injectsFaults(t *testing.T) {
	t.Helper()
	x.types(0, "lizard", "kill", "B", "--for", "1h")
	x.types(0, "lizard", "kill", "DPS", "throttles", "--retry-after", "5s", "--count=3")
	x.types(0, "lizard", "kill", "dev1", "twin-error")
	activeFaults := func() (all []string) {
		strikes, _ := x.gets("lizard", "list", "-o", "json")["strikes"].([]any)
		for _, strike := range strikes {
			s, _ := strike.(map[string]any)
			text, _ := json.Marshal(s["parameters"])
			all = append(all, strings.Join([]string{s["target"].(string), s["fault"].(string), string(text)}, " "))
		}
		return all
	}
	const want = "DPS throttles {\"count\":\"3\",\"retry-after\":\"5s\"}\nB fin {\"for\":\"1h0m0s\"}\ndev1 t" +
		"win-error {}"
	if got := strings.Join(activeFaults(), "\n"); got != want {
		t.Errorf("the active faults are\n%s, want\n%s", got, want)
	}
	if list, _ := x.types(0, "lizard", "list"); !strings.Contains(list, "\nlate-puback ") ||
		!strings.Contains(list, "\nActive faults:\nDPS ") {
		t.Errorf("the list is\n%s", list)
	}
	for _, args := range [][]string{
		{"A", "hiccup"}, {"nowhere"}, {"A", "fin", "--mark", "x"}, {"A", "fin", "--for", "soon"}, {"A",
			"late-puback"}, {"A", "mute"},
	} {
		if _, stderr := x.types(2, append([]string{"lizard", "kill"}, args...)...); !strings.Contains(stderr,
			" answered 40") {
			t.Errorf("kill %q: %s", args, stderr)
		}
	}
	x.types(0, "lizard", "heal", "B", "fin")
	x.types(0, "lizard", "heal", "dev1")
	x.types(0, "lizard", "heal")
	if got := activeFaults(); len(got) > 0 {
		t.Errorf("the active faults are %q", got)
	}
}
