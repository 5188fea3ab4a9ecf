package machine

import (
	"context"
	"time"
)

// connected attaches the message handlers and works until the session ends or its token nears its end. Whichever way
// the state is left, the handlers are detached.
func (d *Device) connected(ctx context.Context, _ Change) (Event, error) {
	since := time.Now()
	d.restored(since)
	working, stop := d.term.context(ctx, d.Link.Now)
	defer stop()
	d.hub.Attach(d.session, d.assignment.DeviceID)
	defer d.hub.Detach()
	err := d.hub.Work(working)
	d.history.lived = time.Since(since)
	if d.history.lived >= d.Policy.Hold {
		d.history.held()
	}
	switch {
	case ctx.Err() != nil:
		return Stay, nil
	case err == nil:
		return Renew, nil
	}
	return Lost, err
}
