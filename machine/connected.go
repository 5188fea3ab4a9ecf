package machine

import (
	"context"
	"errors"
	"time"

	"giantlizard.example/failover/transport"
)

// errNoSession is for a Connected that was entered by an event from outside, or by a row of a program's own.
var errNoSession = errors.New("machine: there is no session")

// connected attaches the message handlers and works until the session ends or its token nears its end. Whichever way
// the state is left, the handlers are detached.
func (d *Device) connected(ctx context.Context, _ Change) (Event, error) {
	if d.session == nil {
		return Lost, errNoSession
	}
	since := time.Now()
	d.restored(since)
	d.trial = trial{}
	working, stop := d.term.context(ctx, d.clock)
	defer stop()
	d.hub.Attach(d.session, d.assignment.DeviceID)
	defer d.hub.Detach()
	err := d.hub.Work(working)
	d.history.lived = time.Since(since)
	if d.history.lived >= d.Policy.Hold && !errors.Is(err, transport.AckOverdue) { // a hub that owes answers has not held
		d.history.held()
	}
	switch {
	case ctx.Err() != nil:
		return Stay, nil
	case err == nil:
		if now := time.Now(); now.Before(d.term.end) {
			d.cutShort = now
		}
		return Renew, nil
	}
	return Lost, err
}
