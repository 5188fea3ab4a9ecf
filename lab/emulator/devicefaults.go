package emulator

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// What an operator may do to a device, and what may end its sessions.
const (
	Disabled Fault = "disabled"
	Deleted  Fault = "deleted"
	Blocked  Fault = "blocked"
	Moved    Fault = "moved"
	Flapping Fault = "flapping"
	Flaky    Fault = "flaky"
)

// barred tells why a hub lets a device in no more.
func (d *device) loginRefusal() error {
	switch {
	case d.faults[Disabled] != nil:
		return errors.New("the device is disabled")
	case d.faults[Deleted] != nil:
		return errors.New("the device is deleted")
	case d.faults[Blocked] != nil:
		return errors.New("the device is blocked")
	}
	return nil
}

// expel closes the device's socket without a reason.
func (d *device) disconnect(why string) {
	if s := d.session(); s != nil {
		s.hub.endSession(s, why)
		s.conn.abort(closeFIN)
	}
}

// erase forgets all that a hub knows of a device.
func (d *device) eraseState() {
	d.disconnect("the device was deleted")
	for _, h := range d.cloud.hubs {
		delete(h.keptFilters, d.id)
	}
	d.purgeQueue()
	d.endFailover()
	d.twin, d.hadSession = newTwin(), false
}

// barred answers for a device that has been disabled or deleted, unless it may register anew.
func (q dpsRequest) answerDisabled() bool {
	d := q.cloud.devices[q.client.id]
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

// renew ends what bars a device from its hub. What was deleted is assigned as if it were new.
func (q dpsRequest) clearByRegistration(d *device) {
	for _, fault := range []Fault{Disabled, Deleted} {
		if a := d.faults[fault]; a != nil && a.Reregister {
			if fault == Deleted {
				d.hub = nil
			}
			a.stop()
			delete(d.faults, fault)
			q.cloud.emit(KindLizard, "", d.id, "device %s registered anew, though %s", d.id, fault)
		}
	}
}

// moveAway moves a device, or a hub's devices and newcomers, and leaves behind what moves them back.
func injectMove(c *Cloud, t target, a *activeFault) error {
	var from *hub
	var moved []*device
	if t.device != nil {
		from, moved = t.device.hub, []*device{t.device}
	} else {
		from = t.frontend.endpoint.(*hub)
		for _, id := range slices.Sorted(maps.Keys(c.devices)) {
			if d := c.devices[id]; d.hub == from {
				moved = append(moved, d)
			}
		}
	}
	if from == nil {
		return errors.New("it has no hub yet")
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
	newcomers := t.device == nil && c.defaultHub == from
	for _, d := range moved {
		c.move(d, to)
	}
	if newcomers {
		c.defaultHub = to
	}
	a.undo = func() {
		for _, d := range moved {
			if d.hub == to {
				c.move(d, from)
			}
		}
		if newcomers && c.defaultHub == to {
			c.defaultHub = from
		}
	}
	return nil
}

func startFlapping(_ *Cloud, t target, _ *activeFault) error {
	for _, s := range t.sessions() {
		s.scheduleFlap()
	}
	return nil
}

// flap ends the session some time from now, if it is to flap.
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
			s.hub.close(s, "the hub flaps")
		}
	})
}

// steady lets sessions live that were to end.
func (t target) stopFlapping() {
	for _, s := range t.sessions() {
		if s.flapTimer != nil {
			s.flapTimer.Stop()
			s.flapTimer = nil
		}
	}
}

// sessions are those of a device, or of all devices at a hub. DPS has none that last.
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
