package drill

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

const (
	firstReading = time.Minute      // bounds the wait for it
	lastWords    = 20 * time.Second // bounds a client's end
	methodTime   = 10 * time.Second // bounds an answer
	settle       = 5 * time.Second  // is enough to deliver what comes last
)

// A trial is a client in a scenario.
type trial struct {
	*Drill
	cloud    *emulator.Cloud
	seen     recorder
	client   Running
	wishes   map[string]any // desired properties by name, the newest value of each that was not deleted
	refused  error          // wishes that break the cloud's rules
	evidence Evidence
}

// try puts the client through one scenario and grades it.
func (d *Drill) try(ctx context.Context, s scenario.Scenario) (*Card, error) {
	t := &trial{Drill: d, wishes: map[string]any{}, evidence: Evidence{Interval: d.Interval, Numbers: d.Numbers}}
	dir, err := os.MkdirTemp("", "failover-drill")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	config := d.Cloud
	config.MethodTimeout, config.Observe = methodTime, t.seen.observe
	if t.cloud, err = emulator.Start(config); err != nil {
		return nil, err
	}
	defer t.cloud.Close()
	place, err := t.place(dir)
	if err != nil {
		return nil, err
	}
	if t.client, err = d.Client.Start(place); err != nil {
		return nil, err
	}
	err = t.play(ctx, s)
	stopping, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	t.evidence.Process = t.client.Stop(stopping)
	if err != nil {
		return nil, err
	}
	t.collect()
	return Judge(s, &t.evidence), nil
}

func (t *trial) place(dir string) (Place, error) {
	key, err := deviceKey(t.cloud, t.DeviceID)
	if err != nil {
		return Place{}, err
	}
	p := Place{
		ProvisioningHost: t.cloud.DPSHost(), IDScope: t.cloud.IDScope(), DeviceID: t.DeviceID, DeviceKey: key,
		CAFile: filepath.Join(dir, "ca.pem"), RootCAs: t.cloud.CAPool(), StateDir: filepath.Join(dir, "state"), Interval: t.Interval,
	}
	return p, os.WriteFile(p.CAFile, t.cloud.CAPEM(), 0o600)
}

// play begins with the client's first reading, and ends some time after the scenario so that what came last can be delivered.
func (t *trial) play(ctx context.Context, s scenario.Scenario) error {
	t.awaitReading(ctx) // a client that sends none is judged too
	t.evidence.Start = time.Now()
	err := s.Run(ctx, t.cloud, t.DeviceID, t.witness)
	t.evidence.End = time.Now()
	if err == nil {
		err = t.refused
	}
	if err == nil {
		err = pause(ctx, settle)
	}
	t.evidence.Stopped, t.evidence.Unacknowledged = time.Now(), t.unacknowledged()
	return err
}

func (t *trial) awaitReading(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstReading)
	var work sync.WaitGroup
	work.Go(func() {
		select {
		case <-t.client.Ended():
			cancel()
		case <-ctx.Done():
		}
	})
	_ = t.cloud.Wait(ctx, func() bool { return len(t.cloud.Ledger()) > 0 })
	cancel()
	work.Wait()
}

// collect reads what the cloud has seen, once the client has ended.
func (t *trial) collect() {
	e := &t.evidence
	e.Deliveries, e.Events, e.Breaches = t.cloud.Ledger(), t.seen.all(), t.cloud.Violations()
	for _, event := range e.Events {
		if event.Kind == emulator.KindConnected || event.Kind == emulator.KindRefused {
			e.Attempts = append(e.Attempts, event.Time)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("it was ended early: %w", context.Cause(ctx))
	}
}
