//go:build unix

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// complete has valid settings, although no cloud has this ID scope.
var complete = []string{"FAILOVER_ID_SCOPE=0ne1", "FAILOVER_DEVICE_ID=dev1", "FAILOVER_GROUP_KEY=" +
	emulator.DevelopmentGroupKey}

// wantRefused runs the device with settings that it must refuse, and wants each of these texts in
// the error.
func wantRefused(t *testing.T, env, args []string, want ...string) {
	t.Helper()
	code, stdout, stderr := run(t, env, append([]string{"run"}, args...)...)
	if code != 2 || stdout != "" {
		t.Errorf("%v %v: exit code %d, stdout %q", env, args, code, stdout)
	}
	for _, part := range append(want, "failover demo") {
		if !strings.Contains(stderr, part) {
			t.Errorf("%v %v: no %q in the output:\n%s", env, args, part, stderr)
		}
	}
}

func TestMissingSettingsAreReportedWithTheirPlaceInAzure(t *testing.T) {
	wantRefused(t, nil, nil,
		"FAILOVER_ID_SCOPE (--id-scope) is missing: Azure portal, your Device Provisioning Service, Overview, ID Scope",
		"FAILOVER_DEVICE_ID (--device-id) is missing: the registration ID",
		"FAILOVER_GROUP_KEY (or FAILOVER_GROUP_KEY_FILE) is missing: Azure portal, your Device Provisioning Service, "+
			"Manage enrollments",
		"FAILOVER_DEVICE_KEY (or FAILOVER_DEVICE_KEY_FILE)")
	c := command(t, complete, "run")
	c.Env = c.Env[1:] // no HOME
	p := start(t, c)
	p.wantExit(2)
	if !strings.Contains(p.stderr.String(), "FAILOVER_STATE_DIR (--state-dir) is missing") {
		t.Errorf("without a home directory: %s", &p.stderr)
	}
}

func TestWrongSettingsAreReportedWithWhatIsValid(t *testing.T) {
	for setting, want := range map[string][]string{
		"FAILOVER_PROVISIONING_HOST=https://x/": {"FAILOVER_PROVISIONING_HOST (--provisioning-host) is wrong",
			"global.azure-devices-provisioning.net"},
		"IOTHUB_DEVICE_DPS_ENDPOINT=a b": {"FAILOVER_PROVISIONING_HOST (--provisioning-host) is wrong", `"a b"`},
		"FAILOVER_ID_SCOPE=0ne/1":        {`FAILOVER_ID_SCOPE (--id-scope) is "0ne/1"`, "Overview, ID Scope"},
		"FAILOVER_DEVICE_ID=dev1.": {"FAILOVER_DEVICE_ID (--device-id) is wrong",
			"end it with a letter", "the registration ID"},
		"FAILOVER_DEVICE_ID=../../etc":     {"FAILOVER_DEVICE_ID (--device-id) is wrong"},
		"FAILOVER_CA_FILE=/nowhere/ca.pem": {"FAILOVER_CA_FILE (--ca-file)", "/nowhere/ca.pem"},
		"FAILOVER_CA_FILE=/dev/null":       {"FAILOVER_CA_FILE (--ca-file)", "no PEM certificate"},
		"FAILOVER_MODEL_KEY=model":         {"FAILOVER_MODEL_KEY", "modelId or iotcModelId"},
		"FAILOVER_LOG_FORMAT=xml":          {`FAILOVER_LOG_FORMAT (--log-format) is "xml"`, "console or json"},
		"FAILOVER_LOG_LEVEL=trace": {`FAILOVER_LOG_LEVEL (--log-level) is "trace"`,
			"debug or info or warn"},
		"FAILOVER_TELEMETRY_INTERVAL=5":  {`FAILOVER_TELEMETRY_INTERVAL is "5"`, "a duration, such as 30s"},
		"FAILOVER_TELEMETRY_INTERVAL=0s": {"FAILOVER_TELEMETRY_INTERVAL (--telemetry-interval) is 0s", "above 0"},
		"FAILOVER_PROPERTY_INTERVAL=-1s": {
			"FAILOVER_PROPERTY_INTERVAL (--property-interval) is -1s: it must not be negative"},
		"FAILOVER_CLOSE_TIMEOUT=0s": {"FAILOVER_CLOSE_TIMEOUT", "above 0"},
		"FAILOVER_SPREAD=-1s":       {"FAILOVER_SPREAD"},
		"FAILOVER_DRAIN_RATE=-1": {"FAILOVER_DRAIN_RATE (--drain-rate) is -1",
			"as fast as the hub takes them"},
		"FAILOVER_DRAIN_RATE=NaN":             {"FAILOVER_DRAIN_RATE (--drain-rate) is NaN"},
		"FAILOVER_DRAIN_RATE=1e-300":          {"FAILOVER_DRAIN_RATE (--drain-rate) is 1e-300"},
		"FAILOVER_DRAIN_RATE=fast":            {`FAILOVER_DRAIN_RATE is "fast"`, "a number, such as 10"},
		"FAILOVER_WINDOW=0":                   {"FAILOVER_WINDOW (--window) is 0", "above 0, such as 64"},
		"FAILOVER_WINDOW=9000000000000000000": {"FAILOVER_WINDOW (--window) is 9000000000000000000", "at most 10000"},
		"FAILOVER_DURABILITY=often":           {`FAILOVER_DURABILITY is "often"`, "always, memory, or a duration"},
		"FAILOVER_DURABILITY=0s":              {"FAILOVER_DURABILITY", "above 0"},
		"FAILOVER_QUEUE_READINGS=0":           {"FAILOVER_QUEUE_READINGS (--queue-readings) is 0", "above 0"},
		"FAILOVER_QUEUE_BYTES=1000": {"FAILOVER_QUEUE_BYTES (--queue-bytes) is 1000",
			"one reading of the largest size"},
		"FAILOVER_QUEUE_AGE=-1s": {"FAILOVER_QUEUE_AGE (--queue-age) is -1s: it must not be negative"},
		"FAILOVER_QUEUE_FULL=drop": {`FAILOVER_QUEUE_FULL (--queue-full) is "drop"`,
			"drop-oldest, drop-newest or block"},
		"FAILOVER_NO_METHODS=yes":    {`FAILOVER_NO_METHODS is "yes"`, "true or false"},
		"FAILOVER_KEEP_ALIVE=1500ms": {"FAILOVER_KEEP_ALIVE", "whole seconds"},
		"FAILOVER_KEEP_ALIVE=1178s":  {"FAILOVER_KEEP_ALIVE", "19m37s"},
		"FAILOVER_KEEP_ALIVE=20h":    {"FAILOVER_KEEP_ALIVE", "19m37s"},
		"FAILOVER_SILENCE=6s":        {"FAILOVER_SILENCE (--silence) is 6s", "FAILOVER_KEEP_ALIVE"},
		"FAILOVER_TOKEN_LIFE=1s":     {"FAILOVER_TOKEN_LIFE", "at least 10s"},
		"FAILOVER_GROUP_KEY=short":   {"FAILOVER_GROUP_KEY: the key", "copy", "Manage enrollments"},
		"FAILOVER_DEVICE_KEY=c2Vjb25kIGtleSBvZiAxNg": {
			"more than one key", "FAILOVER_GROUP_KEY", "FAILOVER_DEVICE_KEY",
		},
	} {
		wantRefused(t, append(complete[:3:3], setting), nil, want...)
	}
}

// Several values of one setting are wrong. The error shows which of them was used.
func TestFlagsPrecedeTheEnvironmentWhichPrecedesTheEnvFile(t *testing.T) {
	fromFile := file(t, "env",
		"FAILOVER_LOG_FORMAT=file\nFAILOVER_ID_SCOPE=f/ours\nIOTHUB_DEVICE_DPS_DEVICE_ID=file.\n")
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{nil, nil, `FAILOVER_LOG_FORMAT (--log-format) is "file"`},
		{[]string{"FAILOVER_LOG_FORMAT="}, nil, `is "file"`},
		{[]string{"FAILOVER_LOG_FORMAT=environment"}, nil, `is "environment"`},
		{[]string{"FAILOVER_LOG_FORMAT=environment"}, []string{"--log-format", "flag"}, `is "flag"`},
		// Microsoft's names have the same precedence.
		{nil, nil, `"file."`},
		{[]string{"IOTHUB_DEVICE_DPS_DEVICE_ID=theirs."}, nil, `"theirs."`},
		{[]string{"IOTHUB_DEVICE_DPS_DEVICE_ID=theirs.", "FAILOVER_DEVICE_ID=ours."}, nil, `"ours."`},
		{[]string{"IOTHUB_DEVICE_DPS_ID_SCOPE=e/theirs"}, nil, `"e/theirs"`},
		{[]string{"IOTHUB_DEVICE_DPS_ID_SCOPE=e/theirs"}, []string{"--id-scope", "f/lag"}, `"f/lag"`},
	} {
		wantRefused(t, c.env, append(c.args, "--env-file", fromFile), c.want)
		wantRefused(t, append(c.env, "FAILOVER_ENV_FILE="+fromFile), c.args, c.want)
	}
}

func TestEnvFileOfTheWorkingDirectoryIsRead(t *testing.T) {
	for _, text := range []string{
		"FAILOVER_LOG_FORMAT=xml\n", "# a comment\n\nexport FAILOVER_LOG_FORMAT='xml' # another\n",
		"FAILOVER_LOG_FORMAT = \"xml\"\r\n",
		"\ufeffFAILOVER_LOG_FORMAT=xml",
	} {
		c := command(t, nil, "run")
		must(t, os.WriteFile(filepath.Join(c.Dir, ".env"), []byte(text), 0o600))
		p := start(t, c)
		p.wantExit(2)
		if !strings.Contains(p.stderr.String(), `FAILOVER_LOG_FORMAT (--log-format) is "xml"`) {
			t.Errorf("%q: %s", text, &p.stderr)
		}
	}
}

func TestErrorsOfTheEnvFileQuoteNoLine(t *testing.T) {
	const secret = "c2VjcmV0c2VjcmV0c2VjcmV0"
	for _, text := range []string{
		"FAILOVER_GROUP_KEY " + secret, "FAILOVER_GROUP_KEY " + secret + "\nA=b\n", "=" + secret,
		"FAILOVER_GROUP_KEY='" + secret, "{\"key\": \"" + secret + "\"}",
	} {
		path := file(t, "my.env", text)
		wantRefused(t, nil, []string{"--env-file", path}, "FAILOVER_ENV_FILE (--env-file)", path, "NAME=value")
		if _, _, stderr := run(t, nil, "run", "--env-file", path); strings.Contains(stderr, secret) {
			t.Errorf("it quotes the key: %s", stderr)
		}
	}
	wantRefused(t, complete, []string{"--env-file", "/nowhere/.env"}, "FAILOVER_ENV_FILE (--env-file)", "/nowhere/.env")
	wantRefused(t, append(complete[:3:3], "FAILOVER_ENV_FILE=/nowhere/.env"), nil, "FAILOVER_ENV_FILE (--env-file)",
		"/nowhere/.env")
	wantRefused(t, complete, []string{"--env-file", t.TempDir()}, "FAILOVER_ENV_FILE (--env-file)")
}

func TestDeviceRunsWithMicrosoftsVariablesOnly(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	const key = "YW4gaW5kaXZpZHVhbCBlbnJvbGxtZW50J3Mga2V5"
	must(t, cloud.Enroll("dev1", key))
	p := start(t, command(t, []string{
		"IOTHUB_DEVICE_DPS_ENDPOINT=" + cloud.DPSHost(), "IOTHUB_DEVICE_DPS_ID_SCOPE=" + cloud.IDScope(),
		"IOTHUB_DEVICE_DPS_DEVICE_ID=dev1", "IOTHUB_DEVICE_DPS_DEVICE_KEY=" + key, "FAILOVER_CA_FILE=" +
			caFile(t, cloud),
	}, "run"))
	p.await("-> Connected")
	p.terminate(0)
}
