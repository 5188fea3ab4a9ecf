package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"giantlizard.example/failover/lab/slow"
)

// The disk becomes full in the middle of a line; later it has room again.
func TestLedgerFileSurvivesAFullDisk(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.jsonl")
	must(t, os.WriteFile(path, []byte(`{"messageId":"of a process that was kil`), 0o600))
	cloud, exports := emulate(t, dir, "--ledger-file=ledger.jsonl")
	limit, end := limiting(cloud, syscall.RLIMIT_FSIZE)
	c := command(t, []string{"FAILOVER_STATE_DIR=" + filepath.Join(dir, "st")}, "run", "--stdin")
	must(t, os.WriteFile(filepath.Join(c.Dir, ".env"), []byte(exports), 0o600))
	in, feed, err := os.Pipe()
	must(t, err)
	c.Stdin = in
	p := start(t, c)
	in.Close()
	_, err = feed.WriteString("1\n2\n3\n")
	must(t, err)
	cloud.stdout.await(cloud, 0, "-3\n")
	info, err := os.Stat(path)
	must(t, err)
	limit(uint64(info.Size()) + 50)
	_, err = feed.WriteString("4\n")
	must(t, err)
	cloud.stdout.await(cloud, 0, "--ledger-file: ")
	end()
	_, err = feed.WriteString("5\n")
	must(t, err, feed.Close())
	p.wantExit(0)
	cloud.terminate(0)

	code, report, stderr := run(t, nil, "ledger", path, "--state-dir", filepath.Join(dir, "st"))
	if code != 0 || !strings.Contains(report, "delivered                    5\n") ||
		!strings.Contains(report, "unreadable lines             1\n") {
		t.Errorf("exit code %d: %s%s", code, report, stderr)
	}
	// Without the line of the third reading it is unknown whether it was delivered.
	text, err := os.ReadFile(path)
	must(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	lines[3] = lines[3][:20] + "\n"
	must(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
	code, report, stderr = run(t, nil, "ledger", path, "--state-dir", filepath.Join(dir, "st"))
	if code != 5 || !strings.Contains(stderr, "1 readings are lost, unless they are in the 2 unreadable lines") {
		t.Errorf("exit code %d: %s%s", code, report, stderr)
	}
	// A file that is not a ledger says nothing about the readings.
	must(t, os.WriteFile(path, []byte("no ledger\nat all\n"), 0o600))
	code, _, stderr = run(t, nil, "ledger", path, "--state-dir", filepath.Join(dir, "st"))
	if code != 1 || !strings.Contains(stderr, "contains no readable message") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
