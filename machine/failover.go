package machine

import (
	"context"
	"fmt"
	"time"
)

var errFight = fmt.Errorf("machine: the hub has ended %d sessions soon after they began: probably a second process uses this identity; "+
	"stop it, or give each its own registration ID; or the hub has used up its quota of messages for the day", fightCloses)

// failover chooses where to go next and waits out the back-off; policy.go has the choice.
func (d *Device) failover(ctx context.Context, c Change) (Event, error) {
	d.drop()
	d.outage.begin(time.Now())
	d.failed(c.On, c.Cause)
	if d.history.fight {
		d.warn("", errFight)
	}
	freed := d.freed(c.Cause) && !d.history.fight
	next := d.Policy.choose(c.On, c.Cause, d.history, d.clock.steady(), d.Rand())
	if freed {
		next.wait = 0
	}
	d.history.chose(next)
	d.within = next.within
	d.rest(ctx, next.wait, next.event, c.Cause)
	return next.event, nil
}

func (d *Device) failed(on Event, cause error) {
	d.history.failed(d.Policy, on, cause, d.clock.steady(), d.Rand())
	d.try(evidenceIn(cause))
}
