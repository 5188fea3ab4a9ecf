package machine

import (
	"context"
	"time"
)

// unprovisioned looks for a stored assignment at the start. Later it waits until DPS may be asked again.
func (l *life) unprovisioned(ctx context.Context, c Change) (Event, error) {
	l.dropSession()
	if c.From != "" {
		l.clockEndsBackOff(c.Cause) // if so, dpsFrom is no longer in the future
		l.backOff(ctx, l.history.dpsFrom.Sub(l.clock.steady()), Register, c.Cause)
		return Register, nil
	}
	l.backOff(ctx, time.Duration(l.Rand()*float64(l.Policy.Spread)), Register, nil)
	stored, ok, err := l.state.cache().Load()
	if err != nil {
		l.warn("", err)
	}
	if !ok {
		return Register, nil
	}
	l.assigned.Store(&stored)
	l.outage.hub = stored.Hub
	l.history.assigned = true
	return Cached, nil
}

// backOff waits and records until when and why. The time for which the machine sleeps counts. It returns early when ctx
// ends, or when the wall clock was set and may have been why the attempt failed.
func (l *life) backOff(ctx context.Context, wait time.Duration, next Event, cause error) {
	if wait <= 0 {
		return
	}
	l.waiting(time.Now().Add(wait), next, cause)
	began := l.clock.uptime()
	l.clock.wait(ctx, func() time.Duration {
		if l.clockEndsBackOff(cause) {
			return 0
		}
		return wait - (l.clock.uptime() - began)
	})
}
