package hub

import (
	"context"
	"maps"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/transport"
)

// BacklogProperty marks a reading that was taken before the session that delivers it began.
const BacklogProperty, backlogValue = "failover-lane", "backlog"

// A courier carries readings from the outbox to one session. There are two lanes, each in order: live readings were
// taken since the session was attached and go first; the backlog follows at its own pace. A place in the window is free
// again when the hub has acknowledged its reading.
type courier struct {
	hub     *Hub
	session *transport.Session
	mark    uint64 // the newest number of the backlog
	onWay   map[uint64]outbox.Entry
	landed  chan landing // as deep as the window, so that no session waits for us
	next    time.Time    // when the backlog may send again
}

type landing struct {
	n   uint64
	err error
}

func newCourier(h *Hub) *courier {
	return &courier{
		hub: h, session: h.session, mark: h.Outbox.Last(),
		onWay: map[uint64]outbox.Entry{}, landed: make(chan landing, h.Window),
	}
}

// run sends until ctx or the session ends. What is on its way then stays so until flush or abandon.
func (c *courier) run(ctx context.Context) error {
	pace := time.NewTimer(0)
	defer pace.Stop()
	for ctx.Err() == nil {
		sent, err := c.sendNext(ctx, false)
		if err != nil {
			return err
		}
		if sent {
			continue
		}
		if wait := time.Until(c.next); wait > 0 {
			pace.Reset(wait)
		}
		select {
		case l := <-c.landed:
			if err := c.settle(l); err != nil {
				return err
			}
		case <-c.hub.Outbox.Changed():
		case <-pace.C:
		case <-c.session.Ended():
			return c.session.Cause()
		case <-ctx.Done():
		}
	}
	return nil
}

// flush sends everything, live first, and waits for every acknowledgement.
func (c *courier) flush(ctx context.Context) error {
	for {
		sent, err := c.sendNext(ctx, true)
		if err != nil {
			return err
		}
		if sent {
			continue
		}
		if len(c.onWay) == 0 {
			return nil
		}
		if err := c.settleOne(ctx); err != nil {
			return err
		}
	}
}

// settleOne waits for one acknowledgement.
func (c *courier) settleOne(ctx context.Context) error {
	select {
	case l := <-c.landed:
		return c.settle(l)
	case <-c.session.Ended():
		return c.session.Cause()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendNext sends one reading if the window and the pace allow it and there is one.
func (c *courier) sendNext(ctx context.Context, unpaced bool) (bool, error) {
	if len(c.onWay) >= c.hub.Window || c.hub.Off.Has(Telemetry) {
		return false, nil
	}
	r, ok := c.hub.Outbox.Peek(c.mark)
	if !ok && (unpaced || !time.Now().Before(c.next)) {
		if r, ok = c.hub.Outbox.Peek(0); ok && c.hub.DrainRate > 0 {
			c.next = time.Now().Add(time.Duration(float64(time.Second) / c.hub.DrainRate))
		}
	}
	if !ok {
		return false, nil
	}
	c.onWay[r.ID.N] = r
	err := c.session.Start(ctx, c.topic(r), 1, r.Reading.Body, func(err error) { c.landed <- landing{r.ID.N, err} })
	if err != nil {
		delete(c.onWay, r.ID.N)
		c.hub.Outbox.Leave(r.ID.N)
		return false, err
	}
	return true, nil
}

// topic marks the backlog. payloads has left room for that in a reading's size.
func (c *courier) topic(r outbox.Entry) string {
	reading := r.Reading
	if r.ID.N <= c.mark {
		reading.Properties = maps.Clone(reading.Properties)
		if reading.Properties == nil {
			reading.Properties = map[string]string{}
		}
		reading.Properties[BacklogProperty] = backlogValue
	}
	return reading.Topic(c.hub.device, r.ID.String())
}

// settle returns the error of a reading that is not known to have arrived, which ends the session.
func (c *courier) settle(l landing) error {
	r, ok := c.onWay[l.n]
	if !ok {
		return nil
	}
	delete(c.onWay, l.n)
	if l.err != nil {
		c.hub.Outbox.Leave(l.n)
		return l.err
	}
	c.hub.Outbox.Remove(l.n)
	c.hub.Emit(observe.Record{Level: observe.Debug, Kind: observe.Delivered, ID: r.ID.String(), Hub: c.session.Host()})
	return nil
}

// abandon gives back what is still on its way when the session has ended: it may have arrived, so it may arrive twice.
func (c *courier) abandon() {
	for {
		select {
		case l := <-c.landed:
			_ = c.settle(l) // the session has ended; nothing is left to be told
			continue
		default:
		}
		break
	}
	for n := range c.onWay {
		delete(c.onWay, n)
		c.hub.Outbox.Leave(n)
	}
}
