//go:build unix

package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/slow"
)

func TestUsageErrorsExitWithTwoAndNameTheHelp(t *testing.T) {
	slow.Test(t)
	for _, args := range []string{
		"bogus", "--bogus", "run bogus", "run --bogus", "run --window", "run --window many",
		"run --telemetry-interval 5",
		"demo bogus", "emulator bogus", "emulator messages bogus", "states bogus", "trace a b", "version bogus",
		"help bogus", "help run bogus",
		"drill bogus", "scenario bogus", "scenario list bogus", "scenario show", "scenario check",
		"central bogus", "central device bogus", "lizard bogus", "lizard kill", "lizard heal a b c",
		"completion bogus", "completion bash bogus", "completion bash --bogus", "man", "man a b",
	} {
		code, stdout, stderr := run(t, nil, strings.Fields(args)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, "--help") {
			t.Errorf("failover %s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

func TestHelpIsNotAnError(t *testing.T) {
	slow.Test(t)
	for args, want := range map[string]string{
		"": "failover demo", "--help": "Lab commands:", "help": "Information:", "help run": "Exit codes:",
		"run --help":           "Example:",
		"help completion bash": "source <(", "completion": "bash", "demo --help": "--watch",
		"emulator --help": "--any-address", "emulator messages --help": "--after now --count 10",
		"drill --help": "FAILOVER_DEVICE_KEY", "scenario": "check", "scenario show --help": "--steps",
		"central": "those commands of az iot central device", "central device": "manual-failover",
		"central device twin show --help":   "--component-name",
		"central device command run --help": "FAILOVER_CENTRAL_TOKEN", "lizard": "failover lizard kill A --for 30s",
		"lizard kill --help": "--retry-after",
		"version":            "failover ", "--version": "failover ",
	} {
		code, stdout, stderr := run(t, nil, strings.Fields(args)...)
		if code != 0 || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("failover %s: exit code %d, stderr %q, and no %q in\n%s", args, code, stderr, want, stdout)
		}
	}
}

func TestHelpOfRunNamesEachSetting(t *testing.T) {
	_, stdout, _ := run(t, nil, "run", "--help")
	for _, name := range []string{
		"provisioning-host", "id-scope", "device-id", "group-key-file", "device-key-file", "model-id", "model-key",
		"telemetry-interval",
		"property-interval", "drain-rate", "window", "no-telemetry", "no-reported-properties", "no-desired-properties",
		"no-methods",
		"no-commands", "handler-timeout", "ack-timeout", "close-timeout", "state-dir", "ca-file", "env-file",
		"log-format", "log-level",
		"connect-timeout", "keep-alive", "silence", "token-life", "hold", "hub-wait", "dps-wait", "last-wait",
		"after-silence",
		"first-rest", "last-connect",
		"last-rest", "spread", "durability", "queue-readings", "queue-bytes", "queue-age", "queue-full", "in-order",
		"stdin",
	} {
		if !strings.Contains(stdout, "  --"+name+" ") {
			t.Errorf("no --%s in the help", name)
		}
	}
}

func TestFailureExitsWithOne(t *testing.T) {
	for _, args := range []string{
		"trace /nowhere/log", "states --output /nowhere/states.md", "man /nowhere",
		"emulator --port 0 --control-port " +
			"0 --ca-file /nowhere/ca.pem",
		"scenario show /nowhere/scenario.txt", "scenario check /nowhere/scenario.txt",
	} {
		code, _, stderr := run(t, nil, strings.Fields(args)...)
		if code != 1 || !strings.Contains(stderr, "/nowhere") {
			t.Errorf("failover %s: exit code %d, %q", args, code, stderr)
		}
	}
}

func TestStatesPrintsTheGeneratedDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/states.md")
	must(t, err)
	if code, stdout, _ := run(t, nil, "states"); code != 0 || stdout != string(document) {
		t.Errorf("exit code %d; docs/states.md is not what is printed:\n%s", code, stdout)
	}
	written := filepath.Join(t.TempDir(), "states.md")
	if code, stdout, _ := run(t, nil, "states", "--output", written); code != 0 || stdout != "" {
		t.Errorf("--output: exit code %d, stdout %q", code, stdout)
	}
	if text, err := os.ReadFile(written); err != nil || string(text) != string(document) {
		t.Errorf("docs/states.md is not what was written: %v", err)
	}
}

func TestCompletionScriptKnowsTheFlags(t *testing.T) {
	code, script, _ := run(t, nil, "completion", "bash")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	check := exec.Command(bash, "-n")
	check.Stdin = strings.NewReader(script)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("bash does not take the script: %v\n%s", err, out)
	}
	if _, flags, _ := run(t, nil, "__complete", "run", "--no-m"); !strings.Contains(flags, "--no-methods") {
		t.Errorf("--no-m is not completed: %q", flags)
	}
}

func TestManWritesAPageForEachCommand(t *testing.T) {
	dir := t.TempDir()
	if code, _, stderr := run(t, nil, "man", dir); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, page := range []string{
		"failover.1", "failover-run.1", "failover-demo.1", "failover-emulator.1", "failover-lizard-kill.1",
		"failover-central-device-manual-failover.1", "failover-states.1", "failover-trace.1",
	} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !strings.Contains(string(text), ".TH") {
			t.Errorf("%s: %v", page, err)
		}
	}
}

func TestBuildWithoutTheLabDoesNotMentionIt(t *testing.T) {
	for _, args := range []string{"demo", "emulator", "scenario", "drill", "lizard", "central"} {
		c := command(t, nil, args)
		c.Path = deviceAlone
		start(t, c).wantExit(2)
	}
	for args, code := range map[string]int{"--help": 0, "run": 2} {
		c := command(t, nil, args)
		c.Path = deviceAlone
		p := start(t, c)
		p.wantExit(code)
		if text := p.stdout.String() + p.stderr.String(); strings.Contains(text, "demo") ||
			strings.Contains(text, "lab") {
			t.Errorf("failover %s:\n%s", args, text)
		}
	}
}
