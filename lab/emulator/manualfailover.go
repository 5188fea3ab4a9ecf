package emulator

import (
	"errors"
	"fmt"
	"time"
)

// Why an operator cannot move a device by hand.
var (
	ErrNotProvisioned = errors.New("emulator: the device has no hub yet: let it connect once")
	ErrOneHub         = errors.New("emulator: there is one hub only: start the emulator with two")
	ErrFailedOver     = errors.New("emulator: the device is failed over already: fail it back first, or wait until it returns")
	ErrNotFailedOver  = errors.New("emulator: the device is not failed over: there is nothing to fail back")
)

// A ManualMove is what a manual failover or failback has done.
type ManualMove struct {
	Left, Joined string    // hubs
	Return       time.Time // of a failover: when the device goes back by itself
}

// A failover is a device that is away until the time is over. Whatever else moves the device ends it.
type failover struct {
	original *hub
	until    time.Time
	timer    *time.Timer
}

// ManualFailover moves a device to the other hub (the next, if there are more) as an operator of IoT Central does to try it,
// and back by itself after the time to live.
func (c *Cloud) ManualFailover(deviceID string, ttl time.Duration) (ManualMove, error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.device(deviceID)
	switch {
	case err != nil:
		return ManualMove{}, err
	case c.isClosed():
		return ManualMove{}, ErrClosed
	case ttl <= 0:
		return ManualMove{}, fmt.Errorf("emulator: manual failover: a time to live of %v is none", ttl)
	case d.hub == nil:
		return ManualMove{}, ErrNotProvisioned
	case len(c.hubs) == 1:
		return ManualMove{}, ErrOneHub
	case d.failover != nil:
		return ManualMove{}, ErrFailedOver
	}
	home, other := d.hub, c.otherHub(d.hub)
	until := time.Now().Add(ttl)
	c.emit(KindAssigned, home.name, d.id, "failed over by hand to hub %s, until %s", other.name, until.UTC().Format(time.RFC3339))
	c.move(d, other)
	f := &failover{original: home, until: until}
	f.timer = time.AfterFunc(ttl, func() { c.expireFailover(d, f) })
	d.failover = f
	return ManualMove{home.name, other.name, until}, nil
}

// goHome is the end of the time to live.
func (c *Cloud) expireFailover(d *device, f *failover) {
	c.mu.Lock()
	defer c.unlock()
	if d.failover == f && !c.isClosed() {
		c.emit(KindAssigned, d.hub.name, d.id, "the manual failover is over")
		c.move(d, f.original)
	}
}

// ManualFailback ends a manual failover before its time.
func (c *Cloud) ManualFailback(deviceID string) (ManualMove, error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.device(deviceID)
	switch {
	case err != nil:
		return ManualMove{}, err
	case d.failover == nil:
		return ManualMove{}, ErrNotFailedOver
	}
	away, home := d.hub, d.failover.original
	c.emit(KindAssigned, away.name, d.id, "failed back by hand to hub %s", home.name)
	c.move(d, home)
	return ManualMove{Left: away.name, Joined: home.name}, nil
}

// settle ends a manual failover: where the device is now, it stays.
func (d *device) endFailover() {
	if d.failover != nil {
		d.failover.timer.Stop()
		d.failover = nil
	}
}
