package machine

import (
	"context"
	"fmt"
	"time"
)

var errFight = fmt.Errorf("machine: the hub has ended %d sessions soon after they began: "+
	"probably a second process uses this identity; stop it, or give each process its own registration ID; "+
	"or the hub has used up its quota of messages for the day", fightCloses)

// failover lets the policy (policy.go) choose between hub and DPS for the next attempt, and waits for the
// back-off.
func (l *life) failover(ctx context.Context, c Change) (Event, error) {
	l.dropSession()
	l.outage.begin(time.Now())
	l.failed(c.On, c.Cause)
	if l.history.fight {
		l.warn("", errFight)
	}
	clockSet := l.clockEndsBackOff(c.Cause) && !l.history.fight
	next := l.Policy.choose(c.On, c.Cause, l.history, l.clock.steady(), l.Rand())
	if clockSet {
		next.wait = 0
	}
	l.history.chose(next)
	l.within = next.within
	l.backOff(ctx, next.wait, next.event, c.Cause)
	return next.event, nil
}

func (l *life) failed(on Event, cause error) {
	l.history.failed(l.Policy, on, cause, l.clock.steady(), l.Rand())
	l.weigh(evidenceIn(cause))
}
