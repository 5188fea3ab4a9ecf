//go:build unix

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

func TestDeathOfTheHubLosesNoReading(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p := device(t, cloud, "--log-format", "json")
	waitReadings(t, cloud, "A", 3)
	must(t, cloud.KillHub("A", emulator.RST, emulator.WithMove))
	waitReadings(t, cloud, "B", 3)
	p.terminate(0)

	log := p.stderr.String()
	taken := wantAllDelivered(t, cloud, log)
	if taken < 6 {
		t.Errorf("%d readings were accepted", taken)
	}
	for _, v := range cloud.Violations() {
		t.Error(v)
	}
	if p.stdout.String() != "" {
		t.Errorf("stdout: %s", &p.stdout)
	}
	// trace prints the same log as a path of states.
	written := file(t, "log", log+"not a record\n")
	code, path, _ := run(t, nil, "trace", written)
	if code != 0 {
		t.Errorf("trace: exit code %d", code)
	}
	for _, want := range []string{
		`Unprovisioned +-> Provisioning +register`, `Provisioning +-> Connecting +assigned +` + cloud.Hub("A"),
		`Connected +-> Failover +lost \((reset|closed)\)`,
		/* a write that meets the reset first leaves the read an EOF */
		`Failover +-> Provisioning +reprovision`,
		`failed over from ` + cloud.Hub("A") + ` to ` + cloud.Hub("B"), `Connected +-> Closing +close`,
		`1 device, \d+ transitions, 1 outage: 1 failed over`, fmt.Sprintf(`%d taken, %[1]d delivered`, taken),
		`1 other line`,
	} {
		if !regexp.MustCompile(want).MatchString(path) {
			t.Errorf("trace: no match of %q in\n%s", want, path)
		}
	}
	c := command(t, nil, "trace")
	c.Stdin = strings.NewReader(log + "not a record\n")
	if q := start(t, c); q.exit() != 0 || q.stdout.String() != path {
		t.Errorf("trace reads something else from standard input:\n%s", &q.stdout)
	}
}

// wantAllDelivered compares the accepted readings of a JSON log with those that the cloud received,
// and returns their number.
func wantAllDelivered(t *testing.T, cloud *emulator.Cloud, log string) (taken int) {
	t.Helper()
	got := map[string]bool{}
	for _, d := range cloud.Ledger() {
		got[d.MessageID] = true
	}
	for line := range strings.Lines(log) {
		var r struct{ Time, Level, Kind, Message, ID string }
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Time == "" || r.Level == "" || r.Message == "" {
			t.Errorf("%q is no record: %v", line, err)
		}
		if r.Kind == "taken" {
			taken++
			if !got[r.ID] {
				t.Errorf("%s is missing", r.ID)
			}
		}
	}
	// A reading that was being accepted when SIGTERM came may be kept although Send returned no ID.
	if len(got) < taken || len(got) > taken+1 {
		t.Errorf("%d readings were accepted and %d delivered", taken, len(got))
	}
	return taken
}

func TestRestartedDeviceConnectsWithoutDPS(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	p := start(t, command(t, env, "run"))
	waitReadings(t, cloud, "A", 1)
	p.terminate(0)
	must(t, cloud.StopDPS())
	q := start(t, command(t, env, "run"))
	q.await("Connecting -> Connected")
	q.terminate(0)
	if n := cloud.Registrations("dev1"); n != 1 {
		t.Errorf("%d registrations", n)
	}
}

func TestRefusedDeviceWaitsAndReportsTheReason(t *testing.T) {
	t.Parallel()
	for fault, why := range map[emulator.Fault]string{
		emulator.DPSForbids: "enable the enrollment, or approve the device",
		emulator.DPSForgets: "check the ID scope, and that an enrollment or an enrollment group covers this " +
			"registration ID",
		emulator.DPSUnauthorized: "check the ID scope, the registration ID and the key",
		emulator.DPSRefuses:      "connack-5",
		emulator.DPSFails:        "the registration has failed",
		emulator.DPSDisabled:     "the registration is disabled",
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			cloud := newCloud(t)
			must(t, cloud.BreakDPS(fault))
			p := device(t, cloud, "--no-telemetry", "--first-rest=1h", "--last-rest=1h")
			p.await(why)
			p.await("Provisioning -> Unprovisioned on refused (dps-refused)")
			p.await("next: register in ")
			p.terminate(0)
			if n := cloud.Registrations("dev1"); n > 1 {
				t.Errorf("it asked DPS %d times", n)
			}
			next := regexp.MustCompile(`next: register in (3\d|4\d|5\d) min \d+ s \(dps-refused\)`)
			if log := p.stderr.String(); !next.MatchString(log) {
				t.Errorf("it does not say when it asks again:\n%s", log)
			}
		})
	}
}

func TestRefusedDeviceConnectsOnceItIsAllowed(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	must(t, cloud.BreakDPS(emulator.DPSForbids))
	p := device(t, cloud, "--first-rest=100ms", "--last-rest=100ms")
	p.await("next: register in ")
	must(t, cloud.BreakDPS(emulator.DPSHealthy))
	waitReadings(t, cloud, "A", 1)
	p.terminate(0)
}

func TestLogFormatsAreConsoleAndJSON(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	for format, line := range map[string]string{
		"console": `(?m)^\d\d:\d\d:\d\d\.\d{3} INF Connecting -> Connected on connected at 127\.0\.0\.1:\d+$`,
		"json":    `(?m)^\{.*"kind":"transition".*"from":"Connecting".*"to":"Connected".*\}$`,
	} {
		p := device(t, cloud, "--log-format", format, "--log-level", "info", "--device-id", format)
		p.await("Connecting -> Connected")
		p.terminate(0)
		if log := p.stderr.String(); !regexp.MustCompile(line).MatchString(log) || strings.Contains(log, "taken") {
			t.Errorf("%s:\n%s", format, log)
		}
	}
	quiet := device(t, cloud, "--log-level", "warn", "--device-id", "quiet")
	wait(t, cloud, "a reading", func() bool {
		return slices.ContainsFunc(cloud.Ledger(), func(d emulator.Delivery) bool { return d.Device == "quiet" })
	})
	quiet.terminate(0)
	if warnings := quiet.warnings(); strings.Contains(quiet.stderr.String(), " INF ") || len(warnings) > 0 {
		t.Errorf("a quiet device says %s", &quiet.stderr)
	}
}

func TestDefaultStateDirectoryIsInTheHomeDirectory(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	var env []string
	for _, v := range deviceEnv(t, cloud) {
		if !strings.HasPrefix(v, "FAILOVER_STATE_DIR=") {
			env = append(env, v)
		}
	}
	home, xdg := t.TempDir(), t.TempDir()
	env = slices.Clip(env)
	for dir, env := range map[string][]string{
		filepath.Join(home, ".local/state/failover/a%3A1"): append(env, "FAILOVER_DEVICE_ID=a:1", "HOME="+home),
		filepath.Join(xdg, "failover/a_1"): append(env, "FAILOVER_DEVICE_ID=a_1",
			"XDG_STATE_HOME="+xdg),
	} {
		p := start(t, command(t, env, "run", "--no-telemetry"))
		p.await("-> Connected")
		p.terminate(0)
		entries, err := os.ReadDir(dir)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); got != "assignment.json device.json lock scope.json" {
			t.Errorf("in %s there are %s, %v", dir, got, err)
		}
	}
}

func TestUnwritableStateDirectoryIsReportedAndTheDeviceRuns(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p := device(t, cloud, "--state-dir", filepath.Join(file(t, "a-file", ""), "state"))
	p.await("make the state directory writable")
	p.await("Connecting -> Connected")
	p.await("readings cannot be written")
	p.await("(disk)")
	p.terminate(5)
	if n := readings(cloud, "A"); n > 0 {
		t.Errorf("%d readings were sent that could not be kept", n)
	}

	p = device(t, cloud, "--durability=memory", "--state-dir", filepath.Join(file(t, "a-file", ""), "state"))
	waitReadings(t, cloud, "A", 1)
	p.terminate(0)
}

// The device gets SIGTERM while there is no hub, and is started again when there is one.
func TestPendingReadingsAreSentAtTheNextStart(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	p := start(t, command(t, env, "run"))
	waitReadings(t, cloud, "A", 1)
	must(t, cloud.KillHub("A", emulator.FIN))
	at := p.awaitAfter(0, "Connected -> Failover")
	for range 3 {
		at = p.awaitAfter(at, "taken ")
	}
	p.terminate(0)
	p.await("will be sent at the next start")
	must(t, cloud.ReviveHub("A"))
	q := start(t, command(t, env, "run"))
	q.await("Connecting -> Connected")
	q.terminate(0)
	got := map[string]bool{}
	for _, d := range cloud.Ledger() {
		got[d.MessageID] = true
	}
	taken := regexp.MustCompile(`taken (\S+)`).FindAllStringSubmatch(p.stderr.String()+q.stderr.String(), -1)
	for _, m := range taken {
		if !got[m[1]] {
			t.Errorf("%s is missing", m[1])
		}
	}
	if len(got) < len(taken) || len(got) > len(taken)+2 { // see wantAllDelivered; here two devices were told to end
		t.Errorf("%d were accepted and %d delivered", len(taken), len(got))
	}
}

func TestStateDirectoryOfAnotherDeviceIsRefused(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	p := start(t, command(t, env, "run"))
	p.await("Connecting -> Connected")
	p.terminate(0)
	code, _, stderr := run(t, append(env, "FAILOVER_DEVICE_ID=another"), "run")
	if code != 1 || !strings.Contains(stderr,
		`holds what is pending for device "dev1"; give this device a directory of its own`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestSecondProcessOnAStateDirectoryIsRefusedAtOnce(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	p := start(t, command(t, env, "run"))
	p.await("Connecting -> Connected")
	code, _, stderr := run(t, env, "run")
	if code != 1 || !strings.Contains(stderr, "another process uses it") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	p.terminate(0)
}
