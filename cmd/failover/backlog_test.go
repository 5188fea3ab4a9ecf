//go:build unix

package main_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

var backlog = flag.Int("backlog", 20_000, "how many readings wait when the device of the backlog test starts")

// Readings have waited for long: the newest arrives at once and the rest follows, and the device needs little memory for it.
func TestALongBacklogHoldsUpNothingAndNeedsLittleMemory(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	env := append(deviceEnv(t, cloud), "FAILOVER_TELEMETRY_INTERVAL=1s", "FAILOVER_LOG_LEVEL=info")
	dir := strings.TrimPrefix(stateOf(env), "--state-dir=")
	waitFor(t, filepath.Join(dir, "outbox"), *backlog)

	p := start(t, command(t, env, "run"))
	p.await("Connecting -> Connected")
	connected := time.Now()
	live := fmt.Sprintf("-%d", *backlog+2) // the second that the device takes, for the first may come before it is connected
	arrived := func() bool {
		ledger := cloud.Ledger()
		for i := len(ledger) - 1; i >= max(0, len(ledger)-50_000); i-- {
			if strings.HasSuffix(ledger[i].MessageID, live) {
				return true
			}
		}
		return false
	}
	wait(t, cloud, "a live reading", arrived)
	if took := time.Since(connected); took > 2*time.Second {
		t.Errorf("a live reading arrived %v after the connection", took)
	}
	wait(t, cloud, "the backlog", func() bool { return len(cloud.Ledger()) >= *backlog })
	took := time.Since(connected)
	peak := peakMemory(t, p)
	if peak > 32<<20 {
		t.Errorf("the device needed %d MiB", peak>>20)
	}
	p.terminate(0)
	if got, want := readings(cloud, "A"), *backlog; got < want {
		t.Errorf("%d of %d arrived", got, want)
	}
	t.Logf("%d readings in %v: %.0f a second; peak RSS %.1f MiB", *backlog, took, float64(*backlog)/took.Seconds(), float64(peak)/(1<<20))
}

// waitFor puts readings of 200 bytes into an outbox.
func waitFor(t *testing.T, dir string, n int) {
	t.Helper()
	box, err := outbox.Open(dir, outbox.Options{Limits: outbox.Limits{Readings: n + 1, Bytes: 1 << 30}})
	must(t, err)
	body := []byte(`{"temp":21.5,"note":"` + strings.Repeat("x", 176) + `"}`)
	var putting sync.WaitGroup
	for range 64 {
		putting.Go(func() {
			for range n / 64 {
				_, err := box.Put(t.Context(), payloads.Reading{Body: body, Taken: time.Now()})
				must(t, err)
			}
		})
	}
	putting.Wait()
	for range n % 64 {
		_, err := box.Put(t.Context(), payloads.Reading{Body: body, Taken: time.Now()})
		must(t, err)
	}
	must(t, box.Close())
}

// peakMemory is the most that a process has had resident, in bytes.
func peakMemory(t *testing.T, p *process) (bytes int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Skip("no VmHWM in /proc")
	}
	_, err = fmt.Sscan(string(m[1]), &bytes)
	must(t, err)
	return bytes << 10
}
