//go:build unix

package main_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// The device reports its battery while there is no hub, and is killed at random times. The disk has
// the last reported value, or the one that was being reported.
func TestPropertyReportedBeforeAKillReachesTheHub(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := append(deviceEnv(t, cloud), "FAILOVER_PROPERTY_INTERVAL=2ms", "FAILOVER_HUB_WAIT=10ms",
		"FAILOVER_DPS_WAIT=10ms",
		"FAILOVER_LAST_WAIT=100ms")
	twin := filepath.Join(strings.TrimPrefix(stateOf(env), "--state-dir="), "twin.json")
	p := start(t, command(t, env, "run"))
	wait(t, cloud, "a report", func() bool { return battery(cloud) != nil })
	must(t, cloud.StopDPS(), cloud.KillHub("A", emulator.RST))
	p.await("Connected -> Failover")

	var last float64
	differ := 0
	for range 20 {
		time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
		_ = p.cmd.Process.Kill()
		<-p.ended
		if said := p.stderr.String(); strings.Contains(said, "was renamed to") {
			t.Fatalf("a kill has damaged a file:\n%s", said)
		}
		now := stored(t, twin)
		if now == 0 && last != 0 {
			t.Fatalf("the disk had the battery %v, and has none now", last)
		}
		if now != last {
			differ++
			last = now
		}
		p = start(t, command(t, env, "run"))
		p.await("Unprovisioned -> Connecting")
	}
	if differ < 5 {
		t.Errorf("after 20 kills the disk has had %d batteries", differ)
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	last = stored(t, twin)

	before := version(cloud)
	must(t, cloud.ReviveHub("A"))
	p = start(t, command(t, append(env, "FAILOVER_PROPERTY_INTERVAL=1h"), "run"))
	wait(t, cloud, "the report, and the device's word for it", func() bool {
		_, err := os.Stat(twin)
		return version(cloud) > before && errors.Is(err, fs.ErrNotExist)
	})
	if got := battery(cloud); got != last {
		t.Errorf("the hub has %v, and the disk had %v", got, last)
	}
	p.terminate(0)
	if n := version(cloud) - before; n != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

func TestReportedPropertiesInMemoryAreLostAtTheEnd(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	must(t, cloud.StopDPS())
	env := append(deviceEnv(t, cloud), "FAILOVER_PROPERTY_INTERVAL=10ms", "FAILOVER_DURABILITY=memory")
	p := start(t, command(t, env, "run"))
	at := 0
	for range 3 {
		at = p.awaitAfter(at, "taken ") // and a few reports between
	}
	p.terminate(5)
	p.await("1 reported properties were not sent before the end")
	if found, _ := filepath.Glob(filepath.Join(strings.TrimPrefix(stateOf(env), "--state-dir="),
		"twin.json*")); len(found) > 0 {
		t.Errorf("on the disk: %q", found)
	}
}

func battery(cloud *emulator.Cloud) any {
	_, reported, _, _ := cloud.Twin("dev1")
	return reported["battery"]
}

func version(cloud *emulator.Cloud) int { _, _, _, version := cloud.Twin("dev1"); return version }

// stored returns the battery value on the disk, or zero if the file does not exist.
func stored(t *testing.T, path string) float64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	must(t, err)
	var f struct{ Reported struct{ Battery float64 } }
	must(t, json.Unmarshal(text, &f))
	return f.Reported.Battery
}
