package emulator

import (
	"errors"
	"fmt"
	"time"
)

// The reasons why a device cannot be failed over or back manually.
var (
	ErrNotProvisioned = errors.New("emulator: the device has no hub yet: let it connect once")
	ErrOneHub         = errors.New("emulator: there is only one hub: start the emulator with two")
	ErrFailedOver     = errors.New("emulator: the device is failed over: fail it back first, or wait until it returns")
	ErrNotFailedOver  = errors.New("emulator: the device is not failed over: there is nothing to fail back")
)

// A ManualMove is the result of a manual failover or failback.
type ManualMove struct {
	Left, Joined string    // names of the hub that the device left and of its new hub
	Return       time.Time // time of the automatic return after a failover; zero after a failback
}

// A failover is a manual failover in progress. Any other move of the device ends it.
type failover struct {
	original *hub
	until    time.Time
	timer    *time.Timer
}

// ManualFailover moves a device to the other hub (the next one, if there are more), as the manual
// failover of IoT Central does. After the time to live, the device is moved back.
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
		return ManualMove{}, fmt.Errorf("emulator: manual failover: the time to live is %v: it must be positive", ttl)
	case d.hub == nil:
		return ManualMove{}, ErrNotProvisioned
	case len(c.hubs) == 1:
		return ManualMove{}, ErrOneHub
	case d.failover != nil:
		return ManualMove{}, ErrFailedOver
	}
	original, other := d.hub, c.otherHub(d.hub)
	until := time.Now().Add(ttl)
	c.emit(KindAssigned, original.name, d.id, "failed over manually to hub %s, until %s", other.name,
		until.UTC().Format(time.RFC3339))
	c.move(d, other)
	f := &failover{original: original, until: until}
	f.timer = time.AfterFunc(ttl, func() { c.expireFailover(d, f) })
	d.failover = f
	return ManualMove{original.name, other.name, until}, nil
}

// expireFailover moves the device back at the end of the time to live.
func (c *Cloud) expireFailover(d *device, f *failover) {
	c.mu.Lock()
	defer c.unlock()
	if d.failover == f && !c.isClosed() {
		c.emit(KindAssigned, d.hub.name, d.id, "the manual failover has expired")
		c.move(d, f.original)
	}
}

// ManualFailback moves the device back before the end of the time to live.
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
	other, original := d.hub, d.failover.original
	c.emit(KindAssigned, other.name, d.id, "failed back manually to hub %s", original.name)
	c.move(d, original)
	return ManualMove{Left: other.name, Joined: original.name}, nil
}

// endFailover ends a manual failover without moving the device back.
func (d *device) endFailover() {
	if d.failover != nil {
		d.failover.timer.Stop()
		d.failover = nil
	}
}
