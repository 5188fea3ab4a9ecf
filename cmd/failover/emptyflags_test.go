//go:build unix

package main_test

import (
	"regexp"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/slow"
)

// commands has all commands, each with sufficient arguments.
var commands = []string{
	"run", "demo", "emulator", "emulator messages", "drill", "scenario show x", "states", "ledger x", "trace",
	"lizard list",
	"lizard kill A", "lizard heal",
	"outbox list", "outbox verify", "outbox export", "outbox requeue 8f3a1c02-17", "scenario list", "scenario check x",
	"version", "man x",
	"central device show", "central device manual-failover", "central device manual-failback",
	"central device registration-info",
	"central device twin show", "central device command run", "completion bash", "completion zsh", "completion fish",
	"completion powershell",
}

var aFlag = regexp.MustCompile(`(?m)^  +(?:-\w, )?--([a-z-]+)`)

func TestEmptyFlagIsAUsageError(t *testing.T) {
	t.Parallel()
	for _, c := range commands {
		t.Run(c, func(t *testing.T) {
			t.Parallel()
			_, help, _ := run(t, nil, append(strings.Fields(c), "--help")...)
			flags := aFlag.FindAllStringSubmatch(help, -1)
			if len(flags) == 0 {
				t.Fatalf("the help names no flag:\n%s", help)
			}
			for _, f := range flags {
				for _, value := range []string{"", " "} {
					code, stdout, stderr := run(t, complete, append(strings.Fields(c), "--"+f[1]+"="+value)...)
					if code != 2 || stdout != "" || !strings.Contains(stderr, "--"+f[1]) {
						t.Errorf("--%s=%q: exit code %d, stdout %q, stderr %q", f[1], value, code, stdout, stderr)
					}
				}
			}
		})
	}
}

func TestEmptyHiddenOrShortFlagIsAUsageError(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	for args, want := range map[string]string{
		"drill|--client|":                                    "--client is empty: give it a value, or leave it out",
		"drill|--scenario|bad-day|--scenario|":               "--scenario is empty",
		"central|device|show|-n||-d|dev1":                    "--app-id is empty",
		"central|device|show|-d|dev1|--token|":               "--token is empty",
		"central|device|twin|show|-d|dev1|--co|":             "--co is empty",
		"central|device|command|run|-d|dev1|--cn|x|-k||-i|":  "--content is empty",
		"lizard|kill|A|poison|--mark|":                       "--mark is empty",
		"run|--state-dir||--ca-file|":                        "--ca-file is empty",
		"run|--env-file|":                                    "--env-file is empty",
		"outbox|list|--state-dir||--device-id|dev1":          "--state-dir is empty",
		"central|device|show|-d|dev1|--central-dns-suffix|":  "--central-dns-suffix is empty",
		"emulator|--port=0|--control-port=0|--ledger-file|":  "--ledger-file is empty",
		"emulator|--port=0|--control-port=0|--control-file|": "--control-file is empty",
	} {
		code, stdout, stderr := run(t, complete, strings.Split(args, "|")...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

func TestEmptyArgumentIsAUsageError(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	for args, want := range map[string]string{
		"lizard|heal|": "argument 1", "lizard|heal|A|": "argument 2", "lizard|kill|": "argument 1",
		"lizard|kill|A|":  "argument 2",
		"scenario|check|": "argument 1", "scenario|check|x| ": "argument 2", "scenario|show|": "argument 1",
		"trace|": "argument 1",
		"man|":   "argument 1", "ledger|": "argument 1", "outbox|requeue|": "argument 1",
	} {
		code, stdout, stderr := run(t, nil, strings.Split(args, "|")...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, want+" is empty") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

func TestAnEmptyVariableCountsAsUnset(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	_, help, _ := run(t, nil, "run", "--help")
	var env []string
	for _, f := range aFlag.FindAllStringSubmatch(help, -1) {
		env = append(env, "FAILOVER_"+strings.ToUpper(strings.ReplaceAll(f[1], "-", "_"))+"=")
	}
	env = append(env, "FAILOVER_DEVICE_KEY=", "IOTHUB_DEVICE_DPS_DEVICE_KEY=", "XDG_STATE_HOME=",
		"FAILOVER_CONTROL_FILE=", "FAILOVER_CENTRAL_TOKEN=")
	p := start(t, command(t, append(env, deviceEnv(t, cloud)...), "run"))
	p.await("-> Connected")
	p.terminate(0)
	if warnings := p.warnings(); len(warnings) > 0 {
		t.Errorf("it warns: %s", warnings)
	}
	if code, _, stderr := run(t, append(env, "XDG_CACHE_HOME="), "lizard", "list"); code != 1 ||
		!strings.Contains(stderr, "no emulator runs on this machine") {
		t.Errorf("lizard list: exit code %d, %s", code, stderr)
	}
}
