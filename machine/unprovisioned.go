package machine

import (
	"context"
	"time"
)

// unprovisioned looks for a stored assignment, once, or rests until DPS may be asked again.
func (d *Device) unprovisioned(ctx context.Context, c Change) (Event, error) {
	d.drop()
	if c.From != "" {
		d.rest(ctx, time.Until(d.history.dpsFrom), Register, c.Cause)
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

// rest waits, saying until when and for what. It returns early when ctx ends.
func (d *Device) rest(ctx context.Context, wait time.Duration, next Event, cause error) {
	if wait <= 0 {
		return
	}
	d.waiting(time.Now().Add(wait), next, cause)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
