package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/transport"
)

// What a device adds to a reading's properties.
const (
	// BacklogProperty marks a reading that was taken before the session that delivers it began.
	BacklogProperty, backlogValue = "failover-lane", "backlog"
	// ClockProperty marks a reading that was taken before the wall clock was set: its creation time is worked out.
	ClockProperty, clockValue = "clock", "estimated"
)

// A courier carries readings from the outbox to one session. There are two lanes, each in order: live readings were
// taken since the session was attached and go first; the backlog follows at its own pace. A place in the window is free
// again when the hub has acknowledged its reading.
type courier struct {
	hub     *Hub
	session Session
	began   time.Time
	mark    uint64          // the newest number of the backlog
	onWay   map[uint64]trip // by number
	bytes   int             // of their bodies
	sent    []sending       // in order; what has been settled meanwhile leaves it late
	held    []uint64        // handed out by the outbox, and held back as suspects
	landed  chan landing    // as deep as the window, so that no session waits for us
	next    time.Time       // when the backlog may send again
}

// windowBytes is the size of the bodies on their way from which on no other reading is sent. More would have the last one
// wait for its acknowledgement, and a ping for its answer, for minutes on a slow link.
const windowBytes = 128 << 10

// A trip is a reading on its way.
type trip struct {
	id   string
	size int
}

type sending struct {
	n  uint64
	at time.Time
}

type landing struct {
	n   uint64
	err error
}

func newCourier(h *Hub) *courier {
	return &courier{
		hub: h, session: h.session, began: time.Now(), mark: h.Outbox.Last(),
		onWay: map[uint64]trip{}, landed: make(chan landing, h.Delivery.Window),
	}
}

// run sends until ctx or the session ends. What is on its way then stays so until flush or abandon.
func (c *courier) run(ctx context.Context) error {
	wake := time.NewTimer(0)
	defer wake.Stop()
	for ctx.Err() == nil {
		c.retry()
		sent, err := c.sendNext(ctx, false)
		if sent {
			continue
		}
		if err == nil {
			err = c.overdue()
		}
		if err != nil {
			return err
		}
		changed := c.hub.Outbox.Changed()
		if c.isFull() {
			changed = nil
		}
		wake.Reset(c.idle())
		select {
		case l := <-c.landed:
			if err := c.settleAll(l); err != nil {
				return err
			}
		case <-changed:
		case <-wake.C:
		case <-c.session.Ended():
			return c.session.Cause()
		case <-ctx.Done():
		}
	}
	return nil
}

// idle is how long nothing needs to be done unless something happens: until the backlog may send again, or until the
// oldest acknowledgement is overdue.
func (c *courier) idle() time.Duration {
	wait := c.hub.Delivery.AckTimeout
	if len(c.sent) > 0 {
		wait -= time.Since(c.sent[0].at)
	}
	if pace := time.Until(c.next); pace > 0 {
		wait = min(wait, pace)
	}
	if at, ok := c.hub.suspicion.due(c.began, c.isAlone()); ok {
		wait = min(wait, max(0, time.Until(at)))
	}
	return wait
}

// isAlone tells whether nothing but the reading that is held back is left to send.
func (c *courier) isAlone() bool {
	return len(c.onWay) == 0 && len(c.held) > 0 && !time.Now().Before(c.next)
}

// retry sends the reading that is held back again, when that is due.
func (c *courier) retry() {
	if at, ok := c.hub.suspicion.due(c.began, c.isAlone()); ok && !time.Now().Before(at) {
		c.hub.suspicion.try()
		c.release()
	}
}

// overdue is the fault of a hub that answers pings and acknowledges nothing. One that throttles answers late, so the
// patience is long.
func (c *courier) overdue() error {
	for len(c.sent) > 0 {
		if _, ok := c.onWay[c.sent[0].n]; ok {
			break
		}
		c.sent = c.sent[1:]
	}
	if len(c.sent) == 0 || time.Since(c.sent[0].at) < c.hub.Delivery.AckTimeout || len(c.landed) > 0 {
		return nil // in the last case it may have come while nobody worked
	}
	return &transport.Error{
		Reason: transport.AckOverdue, Host: c.session.Host(),
		Err: fmt.Errorf("a reading has had no acknowledgement for %s", c.hub.Delivery.AckTimeout),
	}
}

// flush sends everything, live first, and waits for every acknowledgement.
func (c *courier) flush(ctx context.Context) error {
	for {
		coming := c.hub.Outbox.RequestSync() // first, or what comes between would be passed over
		sent, err := c.sendNext(ctx, true)
		if err != nil {
			return err
		}
		if sent {
			continue
		}
		if len(c.onWay) == 0 && !coming {
			return nil
		}
		if err := c.settleOne(ctx, c.hub.Outbox.Changed()); err != nil {
			return err
		}
	}
}

// settleOne waits for one acknowledgement, or until the outbox has changed.
func (c *courier) settleOne(ctx context.Context, changed <-chan struct{}) error {
	select {
	case l := <-c.landed:
		return c.settle(l)
	case <-changed:
		return nil
	case <-c.session.Ended():
		return c.session.Cause()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendNext sends one reading if the window and the pace allow it and there is one.
func (c *courier) sendNext(ctx context.Context, unpaced bool) (bool, error) {
	if c.isFull() || c.hub.Off.Has(Telemetry) {
		return false, nil
	}
	var r outbox.Reading
	ok := false
	if !c.hub.Delivery.InOrder {
		r, ok = c.peek(c.mark)
	}
	if !ok && (unpaced || !time.Now().Before(c.next)) {
		if r, ok = c.peek(0); ok && r.ID.N <= c.mark && !c.hub.Delivery.Unpaced {
			c.next = time.Now().Add(time.Duration(float64(time.Second) / c.hub.Delivery.DrainRate))
		}
	}
	if !ok {
		return false, nil
	}
	n, id := r.ID.N, r.ID.String()
	c.onWay[n] = trip{id, len(r.Reading.Body)}
	c.bytes += len(r.Reading.Body)
	err := c.session.Publish(ctx, c.topic(r, id), 1, r.Reading.Body, func(err error) { c.landed <- landing{n, err} })
	if err != nil {
		c.end(n)
		c.hub.Outbox.Leave(n)
		return false, err
	}
	c.sent = append(c.sent, sending{n, time.Now()})
	return true, nil
}

// isFull tells whether an acknowledgement must come before another reading may go.
func (c *courier) isFull() bool {
	return len(c.onWay) >= c.hub.suspicion.window(c.hub.Delivery.Window) || c.bytes >= windowBytes
}

// end takes a reading from those on their way.
func (c *courier) end(n uint64) {
	c.bytes -= c.onWay[n].size
	delete(c.onWay, n)
}

// peek passes over the reading that is held back.
func (c *courier) peek(after uint64) (outbox.Reading, bool) {
	r, ok := c.hub.Outbox.Peek(after)
	if ok && c.hub.suspicion.holds(r.ID.N) {
		c.held = append(c.held, r.ID.N)
		return c.hub.Outbox.Peek(after)
	}
	return r, ok
}

// topic dates the reading and marks it. payloads has left room for both marks in a reading's size.
func (c *courier) topic(r outbox.Reading, id string) string {
	reading := r.Reading
	var estimated bool
	reading.Taken, estimated = c.hub.Date(r)
	backlog := r.ID.N <= c.mark
	if backlog || estimated {
		reading.Properties = maps.Clone(reading.Properties)
		if reading.Properties == nil {
			reading.Properties = map[string]string{}
		}
	}
	if backlog {
		reading.Properties[BacklogProperty] = backlogValue
	}
	if estimated {
		reading.Properties[ClockProperty] = clockValue
	}
	return reading.Topic(c.hub.device, id)
}

// settleAll takes in an acknowledgement and those that have come meanwhile.
func (c *courier) settleAll(l landing) error {
	err := c.settle(l)
	for err == nil && len(c.landed) > 0 {
		err = c.settle(<-c.landed)
	}
	return err
}

// settle takes an acknowledgement in. A reading that is not known to have arrived stays on its way until abandon; its
// error ends the session.
func (c *courier) settle(l landing) error {
	reading, ok := c.onWay[l.n]
	if !ok || l.err != nil {
		return l.err
	}
	c.end(l.n)
	c.hub.Outbox.Remove(l.n)
	if c.hub.suspicion.acknowledged(l.n, time.Since(c.began)) {
		c.release()
	}
	c.hub.Emit(observe.Record{Level: observe.Debug, Kind: observe.Delivered, ID: reading.id, Hub: c.session.Host()})
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
	condemned, guilty := c.hub.suspicion.ended(c.session.Cause(), slices.Collect(maps.Keys(c.onWay)))
	for n := range c.onWay {
		if guilty && n == condemned {
			c.hub.Outbox.Quarantine(n, errPoison)
		} else {
			c.hub.Outbox.Leave(n)
		}
	}
	clear(c.onWay)
	c.bytes = 0
	c.release()
}

// release gives back what was held back.
func (c *courier) release() {
	for _, n := range c.held {
		c.hub.Outbox.Leave(n)
	}
	c.held = nil
}
