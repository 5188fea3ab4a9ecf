//go:build unix

package main_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
)

// threeDays is the number of readings of three days, one a second. With so many the test also
// checks the speed, which needs a machine without other load.
const threeDays = 3 * 24 * 60 * 60

var backlog = flag.Int("backlog", 20_000, "how many readings wait when the device of the backlog test starts")

// After a long outage the newest reading is delivered at once, the backlog follows, and the device
// needs little memory.
func TestLongBacklogDelaysNothingAndNeedsLittleMemory(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := append(deviceEnv(t, cloud), "FAILOVER_TELEMETRY_INTERVAL=1s", "FAILOVER_LOG_LEVEL=info")
	dir := strings.TrimPrefix(stateOf(env), "--state-dir=")
	fillOutbox(t, filepath.Join(dir, "outbox"), *backlog)

	p := start(t, command(t, env, "run"))
	p.await("Connecting -> Connected")
	connected := time.Now()
	came := arrivals{cloud: cloud, numbers: map[string]bool{}}
	// The device marks the readings that it accepted before it was connected.
	wait(t, cloud, "a live reading", func() bool { came.have(0); return came.live })
	if took := time.Since(connected); took > 2*time.Second {
		t.Errorf("a live reading arrived %v after the connection", took)
	}
	wait(t, cloud, "the end of the backlog", func() bool { return came.have(*backlog) })
	took := time.Since(connected)
	peak := peakMemory(t, p)
	if peak > 32_000_000 {
		t.Errorf("the device needed %.1f MB", float64(peak)/1e6)
	}
	p.terminate(0)
	for n := 1; n <= *backlog; n++ {
		if !came.have(n) {
			t.Fatalf("number %d is missing", n)
		}
	}
	rate := float64(*backlog) / took.Seconds()
	if *backlog >= threeDays && rate < 20_000 {
		t.Errorf("%.0f readings a second are too few", rate)
	}
	t.Logf("%d readings in %v: %.0f a second; peak RSS %.1f MB", *backlog, took, rate, float64(peak)/1e6)
}

// arrivals has the numbers of the readings that a cloud has received.
type arrivals struct {
	cloud   *emulator.Cloud
	read    int // of its ledger
	numbers map[string]bool
	live    bool // whether a reading has come that was accepted since the device was connected
}

func (a *arrivals) have(n int) bool {
	for _, d := range a.cloud.Ledger()[a.read:] {
		_, number, _ := strings.Cut(d.MessageID, "-")
		a.numbers[number] = true
		a.live = a.live || d.Properties[hub.BacklogProperty] == ""
		a.read++
	}
	return a.numbers[strconv.Itoa(n)]
}

// fillOutbox puts readings of 200 bytes into an outbox.
func fillOutbox(t *testing.T, dir string, n int) {
	t.Helper()
	box, err := outbox.Open(dir, outbox.Options{Limits: outbox.Limits{Readings: n + 1, Bytes: 1 << 30}})
	must(t, err)
	body := []byte(`{"temp":21.5,"note":"` + strings.Repeat("x", 176) + `"}`)
	var putting sync.WaitGroup
	for range 64 {
		putting.Go(func() {
			for range n / 64 {
				_, err := box.Put(t.Context(), payloads.Reading{Body: body, Taken: time.Now()}, outbox.Stamp{})
				must(t, err)
			}
		})
	}
	putting.Wait()
	for range n % 64 {
		_, err := box.Put(t.Context(), payloads.Reading{Body: body, Taken: time.Now()}, outbox.Stamp{})
		must(t, err)
	}
	must(t, box.Close())
	must(t, statefile.At(filepath.Join(dir, "..", "device.json")).Save(map[string]string{"registrationId": "dev1"}))
}

// peakMemory returns the maximum of a process's resident memory, in bytes.
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
