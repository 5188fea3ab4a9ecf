// Package quarantined is an example that adds a state to the device. After DPS has refused the device several
// times, the device does not ask DPS again for a long time.
package quarantined

import (
	"context"
	"time"

	"giantlizard.example/failover/machine"
)

// Quarantined is the added state. The event Quarantine leads to it, and the event Released leads out of it.
const (
	Quarantined machine.State = "Quarantined"
	Quarantine  machine.Event = "quarantine"
	Released    machine.Event = "released"
)

// After returns a function for Settings.Table. After limit refusals by DPS, the device does not ask DPS for
// the duration of pause.
func After(limit int, pause time.Duration) func(*machine.Device, machine.Table) machine.Table {
	refusals := 0 // needs no mutex, because the Actions of two states never run at the same time
	count := func(next machine.Action) machine.Action {
		return func(ctx context.Context, c machine.Change) (machine.Event, error) {
			if c.On == machine.DPSRefused {
				refusals++
			}
			if refusals < limit {
				return next(ctx, c)
			}
			refusals = 0
			return Quarantine, c.Cause
		}
	}
	rest := func(ctx context.Context, _ machine.Change) (machine.Event, error) {
		ctx, cancel := context.WithTimeout(ctx, pause)
		defer cancel()
		<-ctx.Done()
		return Released, nil
	}
	return func(_ *machine.Device, t machine.Table) machine.Table {
		return t.Wrap(machine.Unprovisioned, count).With([]machine.StateSpec{
			{Name: Quarantined, Doc: "Leaves DPS alone after it has refused the device several times.", Do: rest},
		}, []machine.Transition{
			{From: machine.Unprovisioned, On: Quarantine, To: Quarantined, Doc: "DPS has refused the device too often"},
			{From: Quarantined, On: Released, To: machine.Provisioning, Doc: "the pause is over"},
		})
	}
}
