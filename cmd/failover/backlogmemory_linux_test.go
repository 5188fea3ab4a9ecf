package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

// highWater returns the maximum of a running process's resident memory, in bytes.
func highWater(t *testing.T, c *exec.Cmd) (size int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
	must(t, err)
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	_, err = fmt.Sscan(string(after), &size)
	must(t, err)
	return size << 10
}

// longBacklog makes a state directory with pending readings, and the receipts of all of them.
func longBacklog(t *testing.T, readings int) (state string, receipts *bytes.Buffer) {
	t.Helper()
	state, receipts = t.TempDir(), &bytes.Buffer{}
	limits := outbox.Limits{Readings: readings, Bytes: 1 << 30}
	box, err := outbox.Open(filepath.Join(state, "outbox"), outbox.Options{Sync: time.Hour, Limits: limits})
	must(t, err)
	for i := range readings {
		body := fmt.Appendf(nil, `{"n":%d}`, i)
		id, err := box.Put(t.Context(), payloads.Reading{Body: body, Properties: map[string]string{"site": "north"}},
			outbox.Stamp{})
		must(t, err)
		fmt.Fprintf(receipts, `{"messageId":"%s","body":"eyJuIjoxfQ=="}`+"\n", id)
	}
	must(t, box.Close())
	return state, receipts
}

// listing returns the memory of a command when all but its last 5,000 lines have been read. The
// command is still running then, because they do not fit into the pipe.
func listing(t *testing.T, readings int, args ...string) int {
	t.Helper()
	c := command(t, frequentGC, args...)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	lines := bufio.NewScanner(out)
	for range readings - 5000 {
		if !lines.Scan() {
			t.Fatalf("%v has ended: %v", args, lines.Err())
		}
	}
	size := highWater(t, c)
	left := 0
	for lines.Scan() {
		left++
	}
	if must(t, c.Wait()); left < 5000 || left > 5001 {
		t.Errorf("%v: %d more lines", args, left)
	}
	return size
}

// frequentGC makes the garbage collector run more often, because on a busy machine it falls behind, and the memory
// in use says little about what a command needs.
var frequentGC = []string{"GOGC=25"}

// comparing returns the memory of the ledger command when it has read all receipts except those in
// the pipe.
func comparing(t *testing.T, state string, receipts io.Reader) int {
	t.Helper()
	c := command(t, frequentGC, "ledger", "-", "--state-dir="+state)
	in, err := c.StdinPipe()
	must(t, err)
	must(t, c.Start())
	_, err = io.Copy(in, receipts)
	must(t, err)
	size := highWater(t, c)
	must(t, in.Close())
	must(t, c.Wait())
	return size
}

// A long outage leaves millions of readings. The commands keep an index in memory, not the
// readings.
func TestOutboxAndLedgerCommandsStreamALongBacklog(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	const few, many, each = 10_000, 300_000, 100 // bytes for each reading
	small, fewReceipts := longBacklog(t, few)
	large, manyReceipts := longBacklog(t, many)
	want := func(name string, less, more int) {
		t.Logf("%s: %d MB for %d readings, %d MB for %d", name, less>>20, few, more>>20, many)
		if grows := (more - less) / (many - few); grows > each {
			t.Errorf("%s takes %d bytes for each reading", name, grows)
		}
	}
	for _, args := range [][]string{{"outbox", "list"}, {"outbox", "list", "--output=json"}, {"outbox", "export"}} {
		less := listing(t, few, append(args, "--state-dir="+small)...)
		want(fmt.Sprint(args), less, listing(t, many, append(args, "--state-dir="+large)...))
	}
	want("ledger", comparing(t, small, fewReceipts), comparing(t, large, manyReceipts))
}
