package machine

import (
	"context"
	"time"
)

// unprovisioned looks for a stored assignment when the device starts. When the state is entered again,
// unprovisioned waits until DPS may be asked again.
func (l *life) unprovisioned(ctx context.Context, c Change) (Event, error) {
	l.dropSession()
	if c.From != "" {
		l.clockEndsBackOff(c.Cause) // may reset dpsFrom, so that backOff returns at once
		l.backOff(ctx, l.Policy.Choose(l.history, l.clock.steady()).Wait, Register, c.Cause)
		return Register, nil
	}
	stored, ok, err := l.state.cache().Load()
	if err != nil {
		l.warn("", err)
	}
	next := Register
	if ok {
		l.assigned.Store(&stored)
		l.outage.hub = stored.Hub
		next = Cached
	}
	l.history.Begin(l.Policy, ok, l.clock.steady(), l.Rand())
	l.backOff(ctx, l.Policy.Choose(l.history, l.clock.steady()).Wait, next, nil)
	return next, nil
}

// backOff waits before the event next, and records the end of the wait and its cause. Time for which the
// machine sleeps counts as waiting time. backOff returns early when ctx ends, when somebody has set the wall
// clock and the wrong clock may have made the attempt fail, or when the network is back.
func (l *life) backOff(ctx context.Context, wait time.Duration, next Event, cause error) {
	if wait <= 0 {
		return
	}
	l.waiting(time.Now().Add(wait), next, cause)
	began := l.clock.uptime()
	l.clock.wait(ctx, func() time.Duration {
		if l.clockEndsBackOff(cause) || l.networkEndsBackOff(cause) {
			return 0
		}
		return wait - (l.clock.uptime() - began)
	})
}
