package emulator

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// The faults by which an operator bars or moves a device, and the faults that end its sessions.
const (
	Disabled Fault = "disabled"
	Deleted  Fault = "deleted"
	Blocked  Fault = "blocked"
	Moved    Fault = "moved"
	Flapping Fault = "flapping"
	Flaky    Fault = "flaky"
)

// loginRefusal returns the reason why the hub refuses the device's logins, or nil.
func (d *device) loginRefusal() error {
	switch {
	case d.faults[Disabled] != nil, d.record.disabled:
		return errors.New("the device is disabled")
	case d.faults[Deleted] != nil:
		return errors.New("the device is deleted")
	case d.faults[Blocked] != nil:
		return errors.New("the device is blocked")
	}
	return nil
}

// disconnect closes the device's socket. The device does not learn the reason.
func (d *device) disconnect(why string) {
	if s := d.session(); s != nil {
		s.hub.endSession(s, why)
		s.conn.abort(closeFIN)
	}
}

// eraseState deletes the device's subscriptions, queue, twin and registration.
func (d *device) eraseState() {
	d.disconnect("the device was deleted")
	d.operation.stop()
	d.operation = operation{}
	for _, h := range d.cloud.hubs {
		delete(h.keptFilters, d.id)
	}
	d.purgeQueue()
	d.endFailover()
	d.twin, d.hadSession = newTwin(), false
}

// answerDisabled answers the request with an error if the device or its enrollment is disabled or
// deleted and may not register again.
func (q dpsRequest) answerDisabled() bool {
	if status, code, message := q.cloud.provisioning.refusal(q.client.id); status != 0 {
		q.fail(status, code, message)
		return true
	}
	d := q.cloud.devices[q.cloud.provisioning.deviceIDOf(q.client.id)]
	if d == nil {
		return false
	}
	if a := d.faults[Disabled]; a != nil && !a.Reregister {
		q.fail(403, 403001, "The enrollment is disabled.")
		return true
	}
	if a := d.faults[Deleted]; a != nil && !a.Reregister {
		q.fail(404, 404201, "There is no such enrollment.")
		return true
	}
	return false
}

// clearByRegistration clears the faults of a device that may register again. A deleted device is
// assigned like a new one.
func (p *dps) clearByRegistration(d *device) {
	for _, fault := range []Fault{Disabled, Deleted} {
		if a := d.faults[fault]; a != nil && a.Reregister {
			if fault == Deleted {
				d.hub = nil
			}
			a.stop()
			delete(d.faults, fault)
			p.cloud.emit(KindLizard, "", d.id, "device %s registered again, which cleared the fault %s", d.id, fault)
		}
	}
}

// injectMove moves a device, or all devices of a hub. If that hub is the default for new devices, the
// other hub becomes the default. injectMove sets a.undo, which reverts these changes.
func injectMove(c *Cloud, t target, a *activeFault) error {
	from, moved := t.devicesToMove(c)
	if from == nil {
		return errors.New("the device has no hub yet")
	}
	to, err := c.otherHub(from), error(nil)
	switch {
	case a.Hub != "":
		if to, err = c.hub(a.Hub); err != nil {
			return err
		}
	case to == from:
		return errors.New("there is no other hub to move to")
	}
	movesDefault := t.device == nil && c.defaultHub == from
	for _, d := range moved {
		c.move(d, to)
	}
	if movesDefault {
		c.defaultHub = to
	}
	a.undo = func() {
		for _, d := range moved {
			if d.hub == to {
				c.move(d, from)
			}
		}
		if movesDefault && c.defaultHub == to {
			c.defaultHub = from
		}
	}
	return nil
}

// devicesToMove returns the devices of a target, and their hub. The hub is nil if the target is a
// device without a hub.
func (t target) devicesToMove(c *Cloud) (from *hub, devices []*device) {
	if t.device != nil {
		return t.device.hub, []*device{t.device}
	}
	from = t.frontend.endpoint.(*hub)
	return from, from.devices()
}

func startFlapping(_ *Cloud, t target, _ *activeFault) error {
	for _, s := range t.sessions() {
		s.scheduleFlap()
	}
	return nil
}

// scheduleFlap sets the timer that ends the session if the fault Flapping is active.
func (s *session) scheduleFlap() {
	a := s.triggered(Flapping)
	if a == nil {
		return
	}
	if s.flapTimer != nil {
		s.flapTimer.Stop()
	}
	s.flapTimer = time.AfterFunc(a.Delay, func() {
		s.hub.cloud.mu.Lock()
		defer s.hub.cloud.unlock()
		if s.hub.byConnection[s.conn] == s {
			s.hub.close(s, "fault flapping")
		}
	})
}

// stopFlapping stops the timers of scheduleFlap.
func (t target) stopFlapping() {
	for _, s := range t.sessions() {
		if s.flapTimer != nil {
			s.flapTimer.Stop()
			s.flapTimer = nil
		}
	}
}

// sessions returns the sessions of a device, or of all devices at a hub. For DPS it returns none.
func (t target) sessions() []*session {
	if t.device != nil {
		if s := t.device.session(); s != nil {
			return []*session{s}
		}
		return nil
	}
	h, ok := t.frontend.endpoint.(*hub)
	if !ok {
		return nil
	}
	var all []*session
	for _, id := range slices.Sorted(maps.Keys(h.byDevice)) {
		all = append(all, h.byDevice[id])
	}
	return all
}
