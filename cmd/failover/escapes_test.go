//go:build unix

package main_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

// evil is text that would make a terminal execute it and print a forged line.
const evil = "x\x1b[2J\u009b31m\u202e\rfailover: fine\nfailover: all is well"

// wantEscaped searches for control characters, and for a line that evil begins.
func wantEscaped(t *testing.T, what, text string) {
	t.Helper()
	obeyed := strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' })
	if obeyed || strings.Contains(text, "\nfailover: all is well") {
		t.Errorf("%s prints %q", what, text)
	}
	if !strings.Contains(text, `x\u001b[2J`) && !strings.Contains(text, `x\x1b[2J`) {
		t.Errorf("%s does not show the name: %q", what, text)
	}
}

func TestArgumentsAreEscapedInErrors(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	for _, args := range [][]string{
		{evil}, {"help", evil}, {"run", evil}, {"run", "--" + evil}, {"run", "--window", evil}, {"run",
			"--durability=" + evil}, {"run", "-" + evil},
		{"run", "--env-file", evil}, {"run", "--ca-file", evil}, {"run", "--device-key-file", evil}, {"run",
			"--log-format", evil}, {"run", "--id-scope=/" + evil},
		{"run", "--state-dir", "~" + evil}, {"scenario", "check", evil}, {"scenario", "check", "/nowhere/" +
			evil}, {"scenario", "show", evil},
		{"drill", "--scenario", evil}, {"drill", evil}, {"drill", "--output", evil}, {"drill", "--client", "x",
			"--client-log", "/nowhere/" + evil},
		{"drill", "--client", "x", "--html", "/nowhere/" + evil}, {"trace", evil},
		{"outbox", "list", "--state-dir", evil}, {"outbox", "list", "--state-dir", "/", "--output", evil}, {"outbox",
			"requeue", "--state-dir", t.TempDir(), evil},
		{"emulator", "--host", evil}, {"emulator", "--port=0", "--control-port=0", "--ledger-file", "/nowhere/" +
			evil}, {"states", "--output", "/nowhere/" + evil},
		{"man", "/nowhere/" + evil}, {"lizard", "list", "-o", evil}, {"central", "device", "show", "-d", "dev1", "-n",
			evil}, {"completion", evil},
		{"central", "device", "show", "-d", "dev1", "-n", "a", "--token-file", evil}, {"central", evil},
	} {
		code, stdout, stderr := run(t, complete, args...)
		if code == 0 {
			t.Errorf("%q: exit code 0", args)
		}
		wantEscaped(t, strings.Join(args, " "), stdout+stderr)
	}
	dir := t.TempDir()
	name := filepath.Join(dir, evil)
	must(t, os.WriteFile(name, []byte("at 10s kil A\n"), 0o600))
	_, _, stderr := run(t, nil, "scenario", "check", name)
	wantEscaped(t, "scenario check of a file", stderr)
}

func TestVariablesAreEscapedInErrors(t *testing.T) {
	t.Parallel()
	for _, env := range [][]string{
		{"FAILOVER_WINDOW=" + evil}, {"FAILOVER_CA_FILE=" + evil}, {"FAILOVER_LOG_LEVEL=" +
			evil}, {"FAILOVER_ENV_FILE=" + evil}, {"FAILOVER_" + evil + "=x"},
	} {
		_, stdout, stderr := run(t, env, "run")
		wantEscaped(t, env[0], stdout+stderr)
	}
	_, _, stderr := run(t, []string{"FAILOVER_CONTROL_FILE=" + evil}, "lizard", "list")
	wantEscaped(t, "lizard list", stderr)
}

func TestFileContentsAreEscapedInErrors(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	record := strings.Replace(logRecord, `"from":"Unprovisioned"`,
		`"from":"x\u001b[2J\u009b31m\nfailover: all is well"`, 1)
	_, stdout, _ := run(t, nil, "trace", file(t, "log", record))
	if strings.ContainsAny(stdout, "\x1b\u009b") || strings.Contains(stdout, "\nfailover: all") ||
		!strings.Contains(stdout, "-> Provisioning") {
		t.Errorf("trace prints %q", stdout)
	}
	state := stateDirectory(t)
	moved := filepath.Join(filepath.Dir(state), evil)
	must(t, os.Rename(state, moved))
	must(t, os.WriteFile(filepath.Join(moved, "outbox", "quarantine-1"), nil, 0o600))
	for _, args := range [][]string{{"ledger", "/nowhere/" + evil, "--state-dir", moved},
		{"outbox", "list", "--state-dir", filepath.Join(moved, "none")}} {
		_, stdout, stderr := run(t, nil, args...)
		wantEscaped(t, strings.Join(args[:1], " "), stdout+stderr)
	}
	day := filepath.Join(t.TempDir(), "x\x1b[2J\nfailover: all is well.txt")
	must(t, os.WriteFile(day, []byte("# a\u202eday\n"+shortDay), 0o600))
	code, stdout, stderr := run(t, nil, "drill", "--scenario", day, "--client",
		"exit 3 # x\x1b[2J\nfailover: all is well")
	wantEscaped(t, "drill", stdout+stderr)
	if code != 0 && code != 6 || strings.Count(stdout, "failover: all is well") != 2 {
		t.Errorf("drill: exit code %d; it names the client and the scenario so:\n%s%s", code, stdout, stderr)
	}
	_, stdout, stderr = run(t, nil, "scenario", "show", day)
	if strings.Contains(stdout+stderr, "\u202e") || !strings.Contains(stdout, `a\u202eday`) {
		t.Errorf("scenario show: %q", stdout+stderr)
	}
}

// The reason of a quarantined reading contains text from the hub.
func TestOutboxContentsAreEscapedInOutput(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	dir := t.TempDir()
	box, err := outbox.Open(filepath.Join(dir, "outbox"),
		outbox.Options{Limits: outbox.Limits{Readings: 10, Bytes: 1 << 20, Full: outbox.DropNewest}})
	must(t, err)
	id, err := box.Put(t.Context(), payloads.Reading{Body: []byte(`"x\u001b[2J\u009b"`)}, outbox.Stamp{})
	must(t, err)
	_, _ = box.Peek(0)
	box.Quarantine(id.N, errors.New(evil))
	must(t, box.Close())
	rotten := filepath.Join(dir, "outbox", "x\x1b[2J\nfailover: all is well.quarantined")
	must(t, os.WriteFile(rotten, []byte("rotten"), 0o600))
	for _, args := range []string{"list", "list -o json", "export", "verify", "verify -o json"} {
		_, stdout, stderr := run(t, nil,
			append([]string{"outbox"}, append(strings.Fields(args), "--state-dir", dir)...)...)
		wantEscaped(t, "outbox "+args, stdout+stderr)
	}
	code, stdout, _ := run(t, nil, "outbox", "list", "--state-dir", dir)
	if lines := strings.Count(stdout, "\n"); code != 1 || lines != 2 { // one quarantined file cannot be read
		t.Errorf("list exits with %d and prints %d lines: %q", code, lines, stdout)
	}
}

func TestTextFromTheCloudIsEscapedInTheLog(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	for _, format := range []string{"console", "json"} {
		p := device(t, cloud, "--log-format", format)
		p.await("delivered")
		_, _, err := cloud.InvokeMethod(t.Context(), "dev1", "x\u009b31m", nil)
		must(t, err)
		p.terminate(0)
		if log := p.stderr.String(); strings.ContainsAny(log, "\x1b\u009b") || !strings.Contains(log, "31m") {
			t.Errorf("%s: the log is %q", format, log)
		}
	}
}

func TestPathsThatTheEmulatorPrintsAreEscaped(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "x\x1b[2J\u009b31m\nfailover: all is well")
	must(t, os.Mkdir(dir, 0o700))
	p := start(t, command(t, nil, "emulator", "--port=0", "--control-port=0", "--ca-file",
		filepath.Join(dir, "ca.pem"), "--control-file", filepath.Join(dir, "control.json")))
	p.stdout.await(p, 0, "export FAILOVER_CA_FILE=")
	p.stdout.await(p, 0, "31m")
	p.terminate(0)
	wantEscaped(t, "emulator", p.stdout.String())
}
