package machine

import (
	"context"
	"time"
)

// unprovisioned looks for a stored assignment, once, or rests until DPS may be asked again.
func (d *Device) unprovisioned(ctx context.Context, c Change) (Event, error) {
	d.drop()
	if c.From != "" {
		d.freed(c.Cause) // then there is nothing to wait for
		d.rest(ctx, d.history.dpsFrom.Sub(d.clock.steady()), Register, c.Cause)
		return Register, nil
	}
	d.rest(ctx, time.Duration(d.Rand()*float64(d.Policy.Spread)), Register, nil)
	stored, ok, err := d.cache().Load()
	if err != nil {
		d.warn("", err)
	}
	if !ok {
		return Register, nil
	}
	d.assign(stored)
	d.outage.hub = stored.Hub
	d.history.assigned = true
	return Cached, nil
}

// rest waits, saying until when and for what; the time for which the machine sleeps counts. It returns early
// when ctx ends, or when the clock is set and that may help.
func (d *Device) rest(ctx context.Context, wait time.Duration, next Event, cause error) {
	if wait <= 0 {
		return
	}
	d.waiting(time.Now().Add(wait), next, cause)
	began := d.clock.uptime()
	for left := wait; left > 0; left = wait - (d.clock.uptime() - began) {
		_, _, changed := d.clock.history()
		if d.freed(cause) {
			return
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}
