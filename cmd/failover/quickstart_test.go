//go:build unix

package main_test

import (
	"slices"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
)

// A device that has an assignment needs no DPS, and does not wait for its first interval.
func TestFirstReadingOfAStartIsStoredAtOnce(t *testing.T) {
	slow.Test(t)
	cloud := newCloud(t)
	state := t.TempDir()
	var took []time.Duration
	for range 8 {
		began, before := time.Now(), len(cloud.Ledger())
		p := device(t, cloud, "--state-dir", state, "--telemetry-interval", "1h")
		waitReadings(t, cloud, "A", before+1)
		took = append(took, cloud.Ledger()[before].Received.Sub(began))
		p.terminate(0)
	}
	took = took[1:] // the first start asks DPS
	slices.Sort(took)
	t.Logf("the first reading was stored after %v at least, %v in the median, %v at most", took[0],
		took[len(took)/2], took[len(took)-1])
	if took[0] > 300*time.Millisecond {
		t.Errorf("the first reading was stored only after %v", took)
	}
}
