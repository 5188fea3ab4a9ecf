//go:build unix

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/control"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// announced starts the control API of a cloud, and returns the environment in which a command finds it.
func announced(t *testing.T, cloud *emulator.Cloud) (env []string, api *control.Server) {
	t.Helper()
	api, err := control.Start(control.Config{Cloud: cloud})
	must(t, err)
	t.Cleanup(func() { must(t, api.Close()) })
	file := filepath.Join(t.TempDir(), "control.json")
	must(t, api.WriteFile(file))
	return []string{"FAILOVER_CONTROL_FILE=" + file}, api
}

// sendLines has a device send lines.
func sendLines(t *testing.T, cloud *emulator.Cloud, lines ...string) {
	t.Helper()
	c := command(t, deviceEnv(t, cloud), "run", "--stdin")
	c.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	start(t, c).wantExit(0)
}

// A messageLine is a line of emulator messages.
type messageLine struct {
	Cursor, Device, Hub, BodyType string
	Properties, SystemProperties  map[string]string
	Body                          any
	Missed                        int
}

func messageLines(t *testing.T, stdout string) (all []messageLine) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var m messageLine
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, m)
	}
	return all
}

func TestMessagesOfAnEmulatorAreFollowedInASecondTerminal(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	env, _ := announced(t, cloud)
	p := start(t, command(t, env, "emulator", "messages", "--device", "dev1"))
	sendLines(t, cloud, `{"body":{"temp":21.5},"properties":{"line":"4"}}`, `{"body":{"temp":22}}`)
	p.stdout.await(p, p.stdout.await(p, 0, "\n"), "\n")
	p.signal(syscall.SIGINT)
	p.wantExit(0)
	all := messageLines(t, p.stdout.String())
	if len(all) != 2 || p.stderr.String() != "" {
		t.Fatalf("it says %s%s", &p.stdout, &p.stderr)
	}
	m := all[0]
	if m.Device != "dev1" || m.Hub != "A" || m.BodyType != "json" || fmt.Sprint(m.Body) != "map[temp:21.5]" ||
		m.Properties["line"] != "4" || m.SystemProperties["content-type"] != "application/json" ||
		m.SystemProperties["message-id"] != cloud.Ledger()[0].MessageID {
		t.Errorf("the message is %+v", m)
	}
	code, stdout, stderr := run(t, env, "emulator", "messages", "--after", m.Cursor, "--no-follow")
	if rest := messageLines(t, stdout); code != 0 || len(rest) != 1 || rest[0].Cursor != all[1].Cursor {
		t.Errorf("after the first message: exit code %d, %s%s", code, stdout, stderr)
	}
}

func TestMessagesOfAnEmulatorEndAsTheFlagsSay(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := emulator.ForTest(t, emulator.Config{RetryAfter: time.Second, LedgerLimit: 10 << 10})
	env, api := announced(t, cloud)
	lines := make([]string, 30)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"body":%d,"properties":{"even":"%t"}}`, i, i%2 == 0)
	}
	sendLines(t, cloud, lines...)
	kept := len(cloud.Ledger())
	messages := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		got, stdout, stderr := run(t, env, append([]string{"emulator", "messages"}, args...)...)
		if got != code {
			t.Errorf("%q: exit code %d, %s", args, got, stderr)
		}
		return stdout, stderr
	}
	stdout, _ := messages(0, "--no-follow")
	if all := messageLines(t, stdout); len(all) != kept+1 || all[0].Missed != 30-kept || all[kept].Body != 29.0 {
		t.Errorf("%d messages are kept; it says\n%s", kept, stdout)
	}
	stdout, _ = messages(0, "--count", "2")
	if all := messageLines(t, stdout); len(all) != 3 || all[2].Missed != 0 {
		t.Errorf("two messages are\n%s", stdout)
	}
	stdout, _ = messages(0, "--no-follow", "--property", "even=true", "--hub", "A", "--hub", "B")
	for _, m := range messageLines(t, stdout)[1:] {
		if m.Properties["even"] != "true" {
			t.Errorf("the message %+v does not match", m)
		}
	}
	if stdout, _ := messages(0, "--no-follow", "--after", "now"); stdout != "" {
		t.Errorf("after now: %s", stdout)
	}
	for _, args := range [][]string{{"--hub", "C"}, {"--after", "yesterday"}, {"--count", "-1"}, {"--after", "1-1"}} {
		if stdout, stderr := messages(2, args...); stdout != "" || stderr == "" {
			t.Errorf("%q: %s%s", args, stdout, stderr)
		}
	}
	if _, stderr := messages(1, "--after", strings.Repeat("x", 8)+"-1"); !strings.Contains(stderr,
		"CursorOfAnotherRun (The cursor is from an earlier start of the emulator") {
		t.Errorf("a cursor of another run: %s", stderr)
	}

	p := start(t, command(t, env, "emulator", "messages"))
	p.stdout.await(p, 0, `"body":29}`)
	must(t, api.Close())
	p.wantExit(1)
	if want := "the emulator has ended the stream of messages: it seems to have stopped; the last cursor is " +
		cloud.RunID() + "-30"; !strings.Contains(p.stderr.String(), want) {
		t.Errorf("without the emulator: %s", &p.stderr)
	}
	if _, stderr := messages(1); !strings.Contains(stderr, "no emulator runs on this machine") {
		t.Errorf("without a control file: %s", stderr)
	}
}

func TestMessagesOfAnEmulatorEndWithTheirReader(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	env, _ := announced(t, cloud)
	c := command(t, env, "emulator", "messages")
	pipe := broken(t)
	c.Stdout = pipe
	p := start(t, c)
	sendLines(t, cloud, "1")
	p.wantExit(0)
	if p.stderr.String() != "" {
		t.Errorf("it says %s", &p.stderr)
	}
}

// The text of a device must not control the terminal of the operator.
func TestMessagesOfAnEmulatorAreEscaped(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	env, _ := announced(t, cloud)
	sendLines(t, cloud, `{"body":"\u001b[2J\u202e\u0007é","properties":{"a":"\u009b1m"}}`)
	code, stdout, stderr := run(t, env, "emulator", "messages", "--no-follow")
	if code != 0 || strings.ContainsAny(stdout, "\x1b\u202e\a\u009b") {
		t.Fatalf("exit code %d, %q%s", code, stdout, stderr)
	}
	m := messageLines(t, stdout)[0]
	if m.Body != "\x1b[2J\u202e\aé" || m.Properties["a"] != "\u009b1m" {
		t.Errorf("the message is %+v", m)
	}
}

func TestEmulatorForgetsMessagesBeyondItsMemory(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	for _, value := range []string{"-1", "1048577", "many"} {
		code, _, stderr := run(t, nil, "emulator", "--port=0", "--control-port=0", "--message-memory="+value)
		if code != 2 || !strings.Contains(stderr, "--message-memory") {
			t.Errorf("%s: exit code %d, %s", value, code, stderr)
		}
	}
	dir := t.TempDir()
	cloud, exports := emulate(t, dir, "--message-memory=1")
	c := command(t, nil, "run", "--stdin", "--drain-rate=0")
	must(t, os.WriteFile(filepath.Join(c.Dir, ".env"), []byte(exports), 0o600))
	const sent = 20
	c.Stdin = strings.NewReader(strings.Repeat(`"`+strings.Repeat("x", 100_000)+"\"\n", sent))
	start(t, c).wantExit(0)
	env := []string{"FAILOVER_CONTROL_FILE=" + filepath.Join(dir, "control.json")}
	code, stdout, stderr := run(t, env, "emulator", "messages", "--no-follow")
	if all := messageLines(t, stdout); code != 0 || len(all) != 11 || all[0].Missed != 10 {
		t.Errorf("exit code %d, %d lines, %d missed, %s", code, len(all), all[0].Missed, stderr)
	}
	cloud.terminate(0)
}
