// Package drill puts a client through scenarios and grades it from outside: by what the cloud has received of it, and by what
// it has cost. It asks the client nothing that a hub would not ask, so any client can be graded.
package drill

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// A Drill is what client is put through what.
type Drill struct {
	Client    Client
	Name      string // of the client, for the report
	DeviceID  string
	Interval  time.Duration // at which the client takes readings
	Numbers   Numbers
	Cloud     emulator.Config // Observe and MethodTimeout are the drill's
	Scenarios []scenario.Scenario
	Progress  func(string) // told what goes on, now and then; may be nil
}

// Run goes through the scenarios, one after the other, each with a new cloud and a new client.
func (d *Drill) Run(ctx context.Context) (*Report, error) {
	r := &Report{
		Client: d.Name, Interval: d.Interval.String(),
		Machine: fmt.Sprintf("%s/%s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}
	for i, s := range d.Scenarios {
		done := d.tell(ctx, fmt.Sprintf("%d of %d: %s", i+1, len(d.Scenarios), s.Name))
		card, err := d.try(ctx, s)
		done()
		if err != nil {
			return r, fmt.Errorf("drill: %s: %w", s.Name, err)
		}
		r.Cards = append(r.Cards, card)
	}
	return r, nil
}

// tell reports progress each second until the returned function is called, which waits for the end of that.
func (d *Drill) tell(ctx context.Context, what string) (done func()) {
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
