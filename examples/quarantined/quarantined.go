// Package quarantined adds a state to the device: after several refusals in a row it leaves DPS alone for a long time.
package quarantined

import (
	"context"
	"time"

	"giantlizard.example/failover/machine"
)

// Quarantined is the added state; the events lead there and back.
const (
	Quarantined machine.State = "Quarantined"
	Quarantine  machine.Event = "quarantine"
	Released    machine.Event = "released"
)

// After is for Settings.Table: after so many refusals in a row the device rests so long.
func After(refusals int, rest time.Duration) func(machine.Table) machine.Table {
	met := 0 // states never run at the same time, so this needs no mutex
	count := func(next machine.Action) machine.Action {
		return func(ctx context.Context, c machine.Change) (machine.Event, error) {
			if c.On == machine.Refused {
				met++
			}
			if met >= refusals {
				met = 0
				return Quarantine, c.Cause
			}
			return next(ctx, c)
		}
	}
	wait := func(ctx context.Context, _ machine.Change) (machine.Event, error) {
		select {
		case <-time.After(rest):
		case <-ctx.Done():
		}
		return Released, nil
	}
	return func(t machine.Table) machine.Table {
		return t.Wrap(machine.Unprovisioned, count).With([]machine.StateSpec{
			{Name: Quarantined, Doc: "Leaves DPS alone after it has refused the device several times.", Do: wait},
		}, []machine.Transition{
			{From: machine.Unprovisioned, On: Quarantine, To: Quarantined, Doc: "DPS has refused the device too often"},
			{From: Quarantined, On: Released, To: machine.Provisioning, Doc: "the rest is over"},
		})
	}
}
