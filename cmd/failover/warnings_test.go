//go:build unix

package main_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/slow"
)

// warned returns the warnings of a device that connects and is ended.
func warned(t *testing.T, env []string, args ...string) (warnings []string) {
	t.Helper()
	p := start(t, command(t, env, append([]string{"run"}, args...)...))
	p.await("-> Connected")
	p.terminate(0)
	return p.warnings()
}

// warnings returns the warnings that a device has printed, without those about readings and properties that were
// accepted when SIGTERM came and are pending until the next start.
func (p *process) warnings() (warnings []string) {
	for line := range strings.Lines(p.stderr.String()) {
		if strings.Contains(line, " WRN ") && !strings.Contains(line, " are pending in ") {
			warnings = append(warnings, line)
		}
	}
	return warnings
}

func TestUnknownVariableIsReportedWithTheMostSimilarOne(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	fromFile := file(t, "my.env", "FAILOVER_STATEDIR=x\nPATH_OF_OTHERS=y\nFAILOVER_GROUP_KYE_FILE=z\nFAILOVER_HOME=\n")
	env := append(deviceEnv(t, cloud), "FAILOVER_QUEUE_FUL=block", "failover_window=5", "FAILOVER_NO_SUCH_THING=1",
		"FAILOVER_EMPTY=", "FAIL=1",
		"FAILOVER_CONTROL_FILE=x", "FAILOVER_CENTRAL_TOKEN=x")
	got := warned(t, env, "--env-file", fromFile)
	want := "unknown settings are ignored: FAILOVER_NO_SUCH_THING in the environment (failover run --help lists " +
		"the settings); " +
		"FAILOVER_QUEUE_FUL in the environment (did you mean FAILOVER_QUEUE_FULL?); " +
		"failover_window in the environment (did you mean FAILOVER_WINDOW?); " +
		"FAILOVER_GROUP_KYE_FILE in " + fromFile + " (did you mean FAILOVER_GROUP_KEY_FILE?); " +
		"FAILOVER_STATEDIR in " + fromFile + " (did you mean FAILOVER_STATE_DIR?)\n"
	if len(got) != 1 || !strings.HasSuffix(got[0], want) {
		t.Errorf("it warns:\n%s\nwant one:\n%s", strings.Join(got, ""), want)
	}
}

// A misspelt name is often the reason why a setting is missing.
func TestUnknownVariableIsReportedBeforeMissingSettings(t *testing.T) {
	t.Parallel()
	wantRefused(t, append(complete[:1:1], complete[2], "FAILOVER_DEVICEID=dev1"), nil,
		"FAILOVER_DEVICE_ID (--device-id) is missing",
		"failover: warning: unknown settings are ignored: FAILOVER_DEVICEID in the environment (did you mean "+
			"FAILOVER_DEVICE_ID?)")
}

func TestToolsReportUnknownVariables(t *testing.T) {
	t.Parallel()
	env := newControlStub(t).controlFile(t)
	for _, args := range []string{"outbox list --state-dir x", "outbox verify --state-dir x",
		"ledger x --state-dir x", "lizard list", "central device show -d dev1"} {
		_, _, stderr := run(t, append(env, "FAILOVER_CENTRAL_TOKN=x"), strings.Fields(args)...)
		if strings.Count(stderr, "failover: warning: ") != 1 ||
			!strings.Contains(stderr,
				"FAILOVER_CENTRAL_TOKN in the environment (did you mean FAILOVER_CENTRAL_TOKEN?)") {
			t.Errorf("%s: %s", args, stderr)
		}
	}
}

func TestSecretFileThatOthersCanReadIsReported(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	secretOfGroup, err := base64.StdEncoding.DecodeString(cloud.GroupKey())
	must(t, err)
	own := base64.StdEncoding.EncodeToString(derived(string(secretOfGroup), "dev1"))
	env := withoutKey(deviceEnv(t, cloud))
	key, group := file(t, "device.key", own), file(t, "group.key", cloud.GroupKey())
	secret, plain := file(t, "secret.env", "FAILOVER_DEVICE_KEY="+own), file(t, "plain.env", "FAILOVER_WINDOW=5")
	for _, c := range []struct {
		mode       os.FileMode
		flag, name string
		more       []string
		warns      bool
	}{
		{0o644, "device-key-file", key, nil, true},
		{0o640, "device-key-file", key, nil, true},
		{0o604, "group-key-file", group, nil, true},
		{0o600, "device-key-file", key, nil, false},
		{0o400, "group-key-file", group, nil, false},
		{0o644, "env-file", secret, nil, true},
		{0o600, "env-file", secret, nil, false},
		{0o644, "env-file", plain, []string{"FAILOVER_DEVICE_KEY=" + own}, false},
	} {
		must(t, os.Chmod(c.name, c.mode))
		got := warned(t, append(env, c.more...), "--"+c.flag, c.name)
		want := "--" + c.flag + ": other users of this machine can read the secret in " + c.name
		if c.warns && (len(got) != 1 || !strings.Contains(got[0], want) ||
			!strings.Contains(got[0], "chmod 600 "+c.name)) || !c.warns && len(got) > 0 {
			t.Errorf("%s with mode %o: it warns %q", c.flag, c.mode, got)
		}
	}
	token := filepath.Join(t.TempDir(), "token")
	for mode, warnings := range map[os.FileMode]int{0o644: 1, 0o600: 0} {
		must(t, os.WriteFile(token, []byte("x y z"), mode), os.Chmod(token, mode))
		_, _, stderr := run(t, nil, "central", "device", "show", "-d", "dev1", "-n", "a", "--token-file", token)
		if strings.Count(stderr, "can read the secret in "+token) != warnings {
			t.Errorf("mode %o: %s", mode, stderr)
		}
	}
}
