package emulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The giant lizard: what kills hubs and moves devices. Each takes effect before its call returns, and none touches what belongs
// to the cloud: twins, queues, the ledger and the assignments stay.

// The faults of GroupDown. KillHub takes them.
const (
	FIN       Fault = "fin"
	RST       Fault = "rst"
	Refuse    Fault = "refuse"
	Silence   Fault = "silence"
	BlackHole Fault = "black-hole"
)

// GroupDown is the group of the faults that take an endpoint down. An endpoint has at most one of them at a time.
const GroupDown = "death"

// Reject is a login that is refused however good it is.
const Reject Fault = "reject"

var errNoOther = errors.New("emulator: move: there is no other hub")

// A KillOption is something that happens along with a kill.
type KillOption int

// WithMove moves the killed hub's devices to the other hub (the next, if there are more), without which DPS goes on
// assigning them to the dead one.
const WithMove KillOption = 1

// KillHub kills a hub. Killing a dead one changes the way in which it is dead.
func (c *Cloud) KillHub(name string, how Fault, options ...KillOption) error {
	c.mu.Lock()
	defer c.unlock()
	h, err := c.hub(name)
	if err != nil {
		return err
	}
	if k, err := findFault(how); err != nil || k.Group != GroupDown {
		return fmt.Errorf("emulator: there is no way %q to kill a hub; there are %s, %s, %s, %s and %s", how, FIN, RST, Refuse, Silence, BlackHole)
	}
	moves := slices.Contains(options, WithMove)
	if moves && len(c.hubs) == 1 {
		return errNoOther
	}
	if err := c.strike(target{kind: TargetHub, name: name, door: h.door}, how, Params{}); err != nil {
		return named(err, "kill hub %s", name)
	}
	if moves {
		return c.moveAll(h, c.other(h))
	}
	return nil
}

// ReviveHub brings a hub back on the same port, with the subscriptions that its sessions had. Devices that were moved away
// stay where they are.
func (c *Cloud) ReviveHub(name string) error {
	c.mu.Lock()
	defer c.unlock()
	h, err := c.hub(name)
	if err != nil {
		return err
	}
	err = c.healAny(target{kind: TargetHub, name: name, door: h.door}, func(k *faultKind) bool { return k.Group == GroupDown })
	return named(err, "revive hub %s", name)
}

// die is the beginning of every way to be dead. A silent endpoint lives, so its sessions go on until it misses its clients.
func die(c *Cloud, t target, how Fault) error {
	d := t.door
	switch how {
	case Refuse:
		d.fill()
		if err := d.open(); err != nil { // it may have been dead in another way
			return err
		}
	case Silence:
		d.fill()
		if err := d.open(); err != nil {
			return err
		}
		d.freeze()
		return nil
	case BlackHole:
		wasShut := !d.listens && d.hole == nil
		if err := d.blackHole(); err != nil {
			if wasShut {
				d.shut(finish) // as before
			}
			return err
		}
		d.freeze()
		return nil
	}
	d.to.dropAll(t.String() + " was killed")
	switch how {
	case FIN:
		d.shut(finish)
	case RST:
		d.shut(reset)
	case Refuse:
		d.endAll(finish)
	}
	return nil
}

// turnedAway judges a CONNECT by the faults alone.
func (c *Cloud) turnedAway(l *link, d *door, where, clientID string) byte {
	at := []afflictions{d.faults}
	if device := c.devices[clientID]; device != nil {
		at = []afflictions{device.faults, d.faults}
	}
	switch {
	case c.hit(Refuse, d.faults) != nil:
		c.refuse(l, where, clientID, "CONNACK 3: the service is unavailable")
		return refusedUnavailable
	case c.hit(Reject, at...) != nil:
		c.refuse(l, where, clientID, "CONNACK 5: 401003: the token is rejected, though it may be good")
		return refusedCredentials
	case c.hit(GarbageCONNACK, d.faults) != nil:
		c.refuse(l, where, clientID, "garbage in place of CONNACK")
		_, _ = l.Write(c.garbage())
		return unanswered
	}
	return accepted
}

// refuse tells why a connection got no further, so that its end is not told as another.
func (c *Cloud) refuse(l *link, where, clientID, format string, values ...any) {
	l.refused = true
	c.tell(KindRefused, where, clientID, format, values...)
}

func (c *Cloud) other(h *hub) *hub {
	i := slices.Index(c.hubs, h)
	return c.hubs[(i+1)%len(c.hubs)]
}

// MoveDevices moves every device of one hub to another, and new devices too if they would have come to the first.
func (c *Cloud) MoveDevices(from, to string) error {
	c.mu.Lock()
	defer c.unlock()
	old, err := c.hub(from)
	if err != nil {
		return err
	}
	other, err := c.hub(to)
	if err != nil {
		return err
	}
	return c.moveAll(old, other)
}

func (c *Cloud) moveAll(from, to *hub) error {
	if from == to {
		return errNoOther
	}
	c.tell(KindLizard, from.name, "", "devices of hub %s moved to hub %s", from.name, to.name)
	for _, id := range slices.Sorted(maps.Keys(c.devices)) {
		if d := c.devices[id]; d.hub == from {
			c.move(d, to)
		}
	}
	if c.newcomers == from {
		c.newcomers = to
	}
	return nil
}

// MoveDevice moves one device: its socket at the old hub closes without a reason, CONNECT there gets 5 from then on, and DPS
// assigns the new hub with the substatus deviceDataMigrated. A device that has no hub yet is simply assigned.
func (c *Cloud) MoveDevice(deviceID, to string) error {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.device(deviceID)
	if err != nil {
		return err
	}
	h, err := c.hub(to)
	if err != nil {
		return err
	}
	c.move(d, h)
	return nil
}

func (c *Cloud) move(d *device, to *hub) {
	switch from := d.hub; from {
	case to:
		return
	case nil:
		d.place(to, "initialAssignment")
	default:
		if s := from.sessions[d.id]; s != nil {
			from.drop(s, "the device was moved")
			s.link.depart(finish)
		}
		delete(from.kept, d.id)
		d.place(to, "deviceDataMigrated")
	}
	c.tell(KindAssigned, to.name, d.id, "assigned to hub %s: %s", to.name, d.substatus)
}
