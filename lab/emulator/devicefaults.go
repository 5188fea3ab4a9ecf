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
func (d *device) barred() error {
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
func (d *device) expel(why string) {
	if s := d.session(); s != nil {
		s.hub.drop(s, why)
		s.link.depart(finish)
	}
}

// erase forgets all that a hub knows of a device.
func (d *device) erase() {
	d.expel("the device was deleted")
	for _, h := range d.cloud.hubs {
		delete(h.kept, d.id)
	}
	d.purge()
	d.settle()
	d.twin, d.met = newTwin(), false
}

// barred answers for a device that has been disabled or deleted, unless it may register anew.
func (q dpsRequest) barred() bool {
	d := q.cloud.devices[q.registrant.id]
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
func (q dpsRequest) renew(d *device) {
	for _, fault := range []Fault{Disabled, Deleted} {
		if a := d.faults[fault]; a != nil && a.Reregister {
			if fault == Deleted {
				d.hub = nil
			}
			a.stop()
			delete(d.faults, fault)
			q.cloud.tell(KindLizard, "", d.id, "device %s registered anew, though %s", d.id, fault)
		}
	}
}

// moveAway moves a device, or a hub's devices and newcomers, and leaves behind what moves them back.
func moveAway(c *Cloud, t target, a *affliction) error {
	var from *hub
	var moved []*device
	if t.device != nil {
		from, moved = t.device.hub, []*device{t.device}
	} else {
		from = t.door.to.(*hub)
		for _, id := range slices.Sorted(maps.Keys(c.devices)) {
			if d := c.devices[id]; d.hub == from {
				moved = append(moved, d)
			}
		}
	}
	if from == nil {
		return errors.New("it has no hub yet")
	}
	to, err := c.other(from), error(nil)
	switch {
	case a.Hub != "":
		if to, err = c.hub(a.Hub); err != nil {
			return err
		}
	case to == from:
		return errors.New("there is no other hub to move to")
	}
	newcomers := t.device == nil && c.newcomers == from
	for _, d := range moved {
		c.move(d, to)
	}
	if newcomers {
		c.newcomers = to
	}
	a.undo = func() {
		for _, d := range moved {
			if d.hub == to {
				c.move(d, from)
			}
		}
		if newcomers && c.newcomers == to {
			c.newcomers = from
		}
	}
	return nil
}

func flapAll(_ *Cloud, t target, _ *affliction) error {
	for _, s := range t.sessions() {
		s.flap()
	}
	return nil
}

// flap ends the session some time from now, if it is to flap.
func (s *session) flap() {
	a := s.hit(Flapping)
	if a == nil {
		return
	}
	if s.flapping != nil {
		s.flapping.Stop()
	}
	s.flapping = time.AfterFunc(a.Delay, func() {
		s.hub.cloud.mu.Lock()
		defer s.hub.cloud.unlock()
		if s.hub.links[s.link] == s {
			s.hub.part(s, "the hub flaps")
		}
	})
}

// steady lets sessions live that were to end.
func (t target) steady() {
	for _, s := range t.sessions() {
		if s.flapping != nil {
			s.flapping.Stop()
			s.flapping = nil
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
	h, ok := t.door.to.(*hub)
	if !ok {
		return nil
	}
	var all []*session
	for _, id := range slices.Sorted(maps.Keys(h.sessions)) {
		all = append(all, h.sessions[id])
	}
	return all
}
