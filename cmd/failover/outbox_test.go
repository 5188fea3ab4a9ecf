//go:build unix

package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

// stateOf returns the argument for the state directory of an environment.
func stateOf(env []string) string {
	for _, v := range env {
		if dir, ok := strings.CutPrefix(v, "FAILOVER_STATE_DIR="); ok {
			return "--state-dir=" + dir
		}
	}
	return ""
}

// ledgerFile writes what the hubs have stored as the emulator does.
func ledgerFile(t *testing.T, cloud *emulator.Cloud) string {
	t.Helper()
	var b strings.Builder
	for _, d := range cloud.Ledger() {
		line, err := json.Marshal(map[string]any{"messageId": d.MessageID, "properties": d.Properties})
		must(t, err)
		fmt.Fprintf(&b, "%s\n", line)
	}
	return file(t, "ledger.jsonl", b.String())
}

// A reading that hubs refuse is quarantined. It is listed while the device runs, and requeued.
func TestQuarantinedReadingIsListedExportedAndRequeued(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	for _, hub := range []string{"A", "B"} {
		must(t, cloud.Inject(hub, emulator.Poison, emulator.Params{Mark: "poison=yes"}))
	}
	env := append(deviceEnv(t, cloud), "FAILOVER_HUB_WAIT=10ms", "FAILOVER_DPS_WAIT=10ms", "FAILOVER_LAST_WAIT=50ms",
		"FAILOVER_FIRST_REST=10ms", "FAILOVER_LAST_REST=50ms")
	c := command(t, env, "run", "--stdin")
	in, out, err := os.Pipe()
	must(t, err)
	defer out.Close() // one that is forgotten is closed by the garbage collector, and the device ends
	c.Stdin = in
	p := start(t, c)
	in.Close()
	_, err = io.WriteString(out, "1\n{\"body\":{\"bad\":2},\"properties\":{\"poison\":\"yes\"}}\n")
	must(t, err)
	for tick := time.NewTicker(50 * time.Millisecond); !strings.Contains(p.stderr.String(), "(quarantined)"); <-tick.C {
		if _, err := io.WriteString(out, "3\n"); err != nil {
			t.Fatalf("it has ended: %v\n%s", err, &p.stderr) // which it does when the test takes too long
		}
	}
	bad := answers(t, p)[1].ID

	state := stateOf(env)
	code, list, _ := run(t, nil, "outbox", "list", state)
	if code != 0 || !strings.Contains(strings.Join(strings.Fields(list), " "), bad+" quarantined") {
		t.Errorf("list: exit code %d\n%s", code, list)
	}
	code, export, _ := run(t, nil, "outbox", "export", state)
	var line struct {
		ID, State, Quarantined string
		Body                   json.RawMessage
	}
	first, _, _ := strings.Cut(export, "\n")
	if err := json.Unmarshal([]byte(first), &line); err != nil || code != 0 || line.ID != bad ||
		line.State != "quarantined" ||
		string(line.Body) != `{"bad":2}` || line.Quarantined == "" {
		t.Errorf("export: exit code %d, %v\n%s", code, err, export)
	}
	if code, _, stderr := run(t, nil, "outbox", "requeue", bad, state); code != 1 ||
		!strings.Contains(stderr, "stop the device first") {
		t.Errorf("requeue beside the device: exit code %d: %s", code, stderr)
	}
	p.terminate(5) // one reading was dropped
	for _, hub := range []string{"A", "B"} {
		must(t, cloud.Clear(hub, emulator.Poison))
	}
	code, said, stderr := run(t, nil, "outbox", "requeue", bad, state)
	if code != 0 || !strings.HasPrefix(said, bad+" -> ") {
		t.Fatalf("requeue: exit code %d: %s%s", code, said, stderr)
	}
	q := command(t, env, "run", "--stdin")
	q.Stdin = strings.NewReader("")
	start(t, q).wantExit(0)
	fresh := strings.TrimSpace(strings.TrimPrefix(said, bad+" -> "))
	found := false
	for _, d := range cloud.Ledger() {
		found = found || d.MessageID == fresh && string(d.Body) == `{"bad":2}` &&
			d.Properties["failover-requeued"] == bad
	}
	if !found {
		t.Errorf("%s was not delivered", fresh)
	}
	code, report, _ := run(t, nil, "ledger", ledgerFile(t, cloud), state, "-o", "json")
	took := len(answers(t, p)) + 1
	if want := fmt.Sprintf(`"taken":%d,"delivered":%d,"waiting":0,"missing":1,`, took, took-1); code != 0 ||
		!strings.Contains(report, want) || !strings.Contains(report, `"quarantined":1,"lost":0`) {
		t.Errorf("ledger: exit code %d\n%s", code, report)
	}
}

func TestRequeueMakesNoDirectoryAndNoLock(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	must(t, os.Mkdir(filepath.Join(top, "empty"), 0o700))
	for _, dir := range []string{filepath.Join(top, "nowhere", "deep"), filepath.Join(top, "empty")} {
		code, _, stderr := run(t, nil, "outbox", "requeue", "8f3a1c02-17", "--state-dir", dir)
		if code != 1 || !strings.Contains(stderr, "contains no outbox") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	}
	if code, _, _ := run(t, nil, "outbox", "requeue", "8f3a1c02-17", "17", "--state-dir", top); code != 2 {
		t.Errorf("with a wrong ID: exit code %d", code)
	}
	if names, _ := filepath.Glob(filepath.Join(top, "*", "*")); len(names) > 0 {
		t.Errorf("it made %q", names)
	}
	if names, _ := filepath.Glob(filepath.Join(top, "*")); len(names) > 1 {
		t.Errorf("it made %q", names)
	}
}

func TestLedgerExitsWithFiveWhenAReadingIsLost(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	c := command(t, env, "run", "--stdin")
	c.Stdin = strings.NewReader("1\n2\n3\n4\n5\n")
	start(t, c).wantExit(0)
	text, err := os.ReadFile(ledgerFile(t, cloud))
	must(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	code, out, _ := run(t, nil, "ledger", file(t, "l", lines[0]+lines[1]+lines[3]+lines[4]), stateOf(env))
	if code != 5 || !strings.Contains(out, "  lost                       1\n") || !strings.Contains(out, "-3\n") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out, _ := run(t, nil, "ledger", file(t, "l", string(text)), stateOf(env)); code != 0 ||
		!strings.Contains(out, "lost                       0") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestVerifyFindsAFlippedByte(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	must(t, cloud.StopDPS())
	p := start(t, command(t, env, "run"))
	at := 0
	for range 5 {
		at = p.awaitAfter(at, "taken ")
	}
	code, out, _ := run(t, nil, "outbox", "verify", stateOf(env)) // beside the running device
	if code != 0 || !strings.Contains(out, "pending (") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	p.terminate(0)
	segments, err := filepath.Glob(filepath.Join(strings.TrimPrefix(stateOf(env), "--state-dir="), "outbox", "*.log"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("%v, %v", segments, err)
	}
	text, err := os.ReadFile(segments[0])
	must(t, err)
	text[len(text)/2] ^= 1
	must(t, os.WriteFile(segments[0], text, 0o600))
	code, out, _ = run(t, nil, "outbox", "verify", stateOf(env))
	if code != 1 || !strings.Contains(out, "damaged: ") || !strings.Contains(out, "(damaged)") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestOutboxAndLedgerCommandsReportAMissingOutbox(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"outbox", "list"}, {"outbox", "verify"}, {"ledger", os.DevNull}} {
		if code, _, stderr := run(t, nil, args...); code != 2 || !strings.Contains(stderr, "give --state-dir") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
		if code, _, stderr := run(t, nil, append(args, "--state-dir="+t.TempDir())...); code != 1 ||
			!strings.Contains(stderr, "contains no outbox") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
}

// A reading can be requeued however many are pending, because only the device applies its limits.
func TestReadingIsRequeuedAfterALongBacklog(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	state := t.TempDir()
	box, err := outbox.Open(filepath.Join(state, "outbox"),
		outbox.Options{Sync: time.Hour, Limits: outbox.Limits{Bytes: 1 << 30}})
	must(t, err)
	put := func(body string) outbox.ID {
		id, err := box.Put(t.Context(), payloads.Reading{Body: []byte(body)}, outbox.Stamp{})
		must(t, err)
		return id
	}
	bad := put("1")
	must(t, box.Close())
	box, err = outbox.Open(filepath.Join(state, "outbox"),
		outbox.Options{Sync: time.Hour, Limits: outbox.Limits{Bytes: 1 << 30}})
	must(t, err)
	if e, ok := box.Peek(0); !ok || e.ID != bad {
		t.Fatalf("handed out %v", e)
	}
	box.Quarantine(bad.N, errors.New("bad"))
	large := strings.Repeat("2", 1_000_000)
	for range 70 {
		put(large)
	}
	must(t, box.Close())
	code, said, stderr := run(t, nil, "outbox", "requeue", bad.String(), "--state-dir="+state)
	if code != 0 || !strings.HasPrefix(said, bad.String()+" -> ") {
		t.Errorf("exit code %d: %s%s", code, said, stderr)
	}
	s, err := outbox.Read(filepath.Join(state, "outbox"))
	must(t, err)
	if s.Readings != 71 || s.Last != 72 || len(s.Dropped) != 1 {
		t.Errorf("%d are pending, the last is %d, dropped were %v", s.Readings, s.Last, s.Dropped)
	}
}

// requeue must report damage, because the next start of the device may not find it again.
func TestRequeueReportsDamage(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	dir := filepath.Join(state, "outbox")
	box, err := outbox.Open(dir, outbox.Options{})
	must(t, err)
	for range 3 {
		_, err := box.Put(t.Context(), payloads.Reading{Body: []byte("1")}, outbox.Stamp{})
		must(t, err)
	}
	must(t, box.Close())
	name := filepath.Join(dir, "0000000001.log")
	text, err := os.ReadFile(name)
	must(t, err)
	text[len(text)/2] ^= 1
	must(t, os.WriteFile(name, text, 0o600))
	if _, _, stderr := run(t, nil, "outbox", "requeue", "8f3a1c02-1",
		"--state-dir="+state); !strings.Contains(stderr, "0000000001.log is damaged") {
		t.Errorf("it said %q", stderr)
	}
}

func TestOutboxCommandsKeepToTheRequestedOutputFormat(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	state := t.TempDir()
	box, err := outbox.Open(filepath.Join(state, "outbox"), outbox.Options{})
	must(t, err)
	id, err := box.Put(t.Context(), payloads.Reading{Body: []byte("1")}, outbox.Stamp{})
	must(t, err)
	box.Peek(0)
	box.Quarantine(id.N, errors.New("bad"))
	must(t, box.Close())
	for _, name := range []string{"list", "verify", "export"} {
		code, said, stderr := run(t, nil, "outbox", name, "-o", "json", "--state-dir="+state)
		if code != 0 || !json.Valid([]byte(said)) {
			t.Errorf("%s: exit code %d: %s%s", name, code, said, stderr)
		}
	}
	if code, said, stderr := run(t, nil, "outbox", "export", "-o", "table", "--state-dir="+state); code != 2 ||
		said != "" || !strings.Contains(stderr, "list") {
		t.Errorf("export as a table: exit code %d: %s%s", code, said, stderr)
	}
	code, said, stderr := run(t, nil, "outbox", "requeue", id.String(), "-o", "json", "--state-dir="+state)
	if want := fmt.Sprintf(`{"id":"%s-2","quarantined":"%s"}`+"\n", id.Epoch, id); code != 0 || said != want {
		t.Errorf("requeue: exit code %d: %s%s, want %s", code, said, stderr, want)
	}
}
