package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

const (
	firstReadingTimeout = time.Minute
	stopTimeout         = 20 * time.Second
	methodTimeout       = 10 * time.Second
	settleTime          = 5 * time.Second // time after the scenario for the delivery of the last readings
)

// A trial is a client in a scenario.
type trial struct {
	*Drill
	cloud    *emulator.Cloud
	seen     recorder
	client   Running
	rest     []scenario.Step // the steps that were not done yet
	desired  map[string]any  // the desired properties by name, without those that were deleted
	invalid  error           // the errors for the desired properties that the cloud refused
	evidence Evidence
}

// try runs the client in one scenario and grades it.
func (d *Drill) try(ctx context.Context, s scenario.Scenario) (*Card, error) {
	t := &trial{Drill: d, desired: map[string]any{}, evidence: Evidence{Interval: d.Interval, Numbers: d.Numbers}}
	dir, err := os.MkdirTemp("", "failover-drill")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	config := d.Cloud
	config.MethodTimeout, config.Observe = methodTimeout, t.seen.observe
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
	stopping, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	t.evidence.Process = t.client.Stop(stopping)
	if err != nil {
		return nil, err
	}
	t.collect()
	return Judge(s, &t.evidence), nil
}

// play waits for the client's first reading, runs the scenario, and waits for the delivery of the
// last readings. It does not go on after the client has ended.
func (t *trial) play(ctx context.Context, s scenario.Scenario) error {
	living, done := t.whileAlive(ctx)
	defer done()
	t.awaitReading(living) // continue after a timeout, because a client without readings is graded, too
	e := &t.evidence
	e.Start, t.rest = time.Now(), s.Steps()
	err := s.Run(living, t.cloud, t.DeviceID, t.record)
	e.End = time.Now()
	if err == nil {
		err = t.invalid
	}
	if err == nil {
		err = pause(living, settleTime)
	}
	if err != nil && !errors.Is(err, scenario.ErrOver) {
		return err
	}
	e.Stopped = time.Now()
	if errors.Is(context.Cause(living), scenario.ErrOver) {
		e.Ended, e.Stopped = e.Stopped, e.Start.Add(s.End+settleTime)
		t.countRest()
	}
	e.Unacknowledged = t.unacknowledged()
	return nil
}

// countRest counts what the scenario would still have asked of a client that has ended. So its card is the one that it
// would have if the drill had waited for the end of the scenario.
func (t *trial) countRest() {
	for _, step := range t.rest {
		switch step.Verb {
		case scenario.Desired:
			t.desire(step.Payload)
		case scenario.Method, scenario.Command:
			t.evidence.Calls = append(t.evidence.Calls, Call{step.Verb, errUnsent})
		}
	}
}

// whileAlive returns a context that ends with ctx, and with the cause ErrOver when the client has ended. done must be
// called.
func (t *trial) whileAlive(ctx context.Context) (living context.Context, done func()) {
	living, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-t.client.Ended():
			cancel(scenario.ErrOver)
		case <-living.Done():
		}
	})
	return living, func() { cancel(nil); watching.Wait() }
}

// awaitReading waits for the first reading, for the end of the client, or for a timeout.
func (t *trial) awaitReading(living context.Context) {
	ctx, cancel := context.WithTimeout(living, firstReadingTimeout)
	defer cancel()
	_ = t.cloud.Wait(ctx, func() bool { return len(t.cloud.Ledger()) > 0 })
}

// collect reads the cloud's observations. The client must have ended.
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
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
}
