// Package drill runs a client in scenarios and grades it from outside: by what the cloud received
// from it and by the resources it used. It asks nothing of the client that a hub would not ask, so
// any client can be graded.
package drill

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// A Drill describes which client runs in which scenarios.
type Drill struct {
	Client    Client
	Name      string // name of the client in the report
	DeviceID  string
	Interval  time.Duration // time between the client's readings
	Numbers   Numbers
	Cloud     emulator.Config // configuration of each cloud; the drill sets Observe and MethodTimeout
	Scenarios []scenario.Scenario
	Progress  func(string) // called each second with a description of the current step; may be nil
}

// Run runs the scenarios one after the other, each with a new cloud and a new client.
func (d *Drill) Run(ctx context.Context) (*Report, error) {
	r := &Report{
		Client: withoutKeys(d.Name, ""), Interval: d.Interval.String(),
		Machine: fmt.Sprintf("%s/%s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}
	for i, s := range d.Scenarios {
		done := d.reportProgress(ctx, fmt.Sprintf("%d of %d: %s", i+1, len(d.Scenarios), s.Name))
		card, err := d.try(ctx, s)
		done()
		if err != nil {
			return r, fmt.Errorf("drill: %s: %w", s.Name, err)
		}
		r.Cards = append(r.Cards, card)
	}
	return r, nil
}

// reportProgress calls d.Progress each second until done is called. done returns after the last call
// has returned.
func (d *Drill) reportProgress(ctx context.Context, what string) (done func()) {
	if d.Progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for began := time.Now(); ; {
			d.Progress(fmt.Sprintf("%s, %.0f s", what, time.Since(began).Seconds()))
			if pause(ctx, time.Second) != nil {
				return
			}
		}
	}()
	return func() { cancel(); <-ended }
}
