package machine

import (
	"context"
	"errors"
	"time"

	"giantlizard.example/failover/policy"
	"giantlizard.example/failover/provisioning"
)

var errFight = errors.New("machine: the hub has ended many sessions soon after they began: " +
	"probably a second process uses this identity; stop it, or give each its own registration ID; " +
	"or the hub has used up its quota of messages for the day, or restarts again and again")

// failover chooses the next attempt by the policy, and waits for the back-off.
func (l *life) failover(ctx context.Context, c Change) (Event, error) {
	l.noteFailure(c.On, c.Cause)
	l.dropSession()
	l.outage.begin(time.Now())
	if l.history.Fight {
		l.warn("", errFight)
	} else {
		l.clockEndsBackOff(c.Cause)
	}
	next := l.Policy.Choose(l.history, l.clock.steady())
	event := Reprovision
	if next.Target == policy.Hub {
		event = RetryHub
	}
	l.backOff(ctx, next.Wait, event, c.Cause)
	return event, nil
}

// noteFailure adds to the history what the event on, which led to Failover or Unprovisioned, and its cause mean.
func (l *life) noteFailure(on Event, cause error) {
	now, luck := l.clock.steady(), l.Rand()
	switch on {
	case Lost:
		l.history.Lose(l.Policy, l.ending(cause), now, luck)
	case ConnectFailed:
		l.history.FailHub(l.Policy, cause, now, luck)
	case Unavailable, DPSRefused:
		l.history.FailDPS(l.Policy, cause, now, luck)
		l.doubted = errors.Is(cause, provisioning.Refused) && blamesClock(cause)
	}
	l.weigh(evidenceIn(cause))
}

// ending describes the session that has ended with cause. A session that lasted does not count as progress if
// the hub acknowledged nothing in it although a reading was sent.
func (l *life) ending(cause error) policy.Ending {
	lived := time.Since(l.accepted)
	acknowledged := l.hub.HasAcknowledged()
	lasted := lived >= l.Policy.Hold && !l.hub.Owes()
	if acknowledged {
		l.endOutage() // awaitProgress may not have seen it
	}
	return policy.Ending{Lived: lived, Progress: lasted || acknowledged, Cause: cause}
}
