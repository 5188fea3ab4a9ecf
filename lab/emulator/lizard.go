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

var errNoOtherHub = errors.New("emulator: move: there is no other hub")

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
		return errNoOtherHub
	}
	if err := c.inject(target{kind: TargetHub, name: name, frontend: h.frontend}, how, Params{}); err != nil {
		return named(err, "kill hub %s", name)
	}
	if moves {
		return c.moveAll(h, c.otherHub(h))
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
	err = c.clearMatching(target{kind: TargetHub, name: name, frontend: h.frontend}, func(k *faultKind) bool { return k.Group == GroupDown })
	return named(err, "revive hub %s", name)
}

// die is the beginning of every way to be dead. A silent endpoint lives, so its sessions go on until it misses its clients.
func takeDown(c *Cloud, t target, how Fault) error {
	f := t.frontend
	switch how {
	case Refuse:
		f.endBlackHole()
		if err := f.listen(); err != nil { // it may have been dead in another way
			return err
		}
	case Silence:
		f.endBlackHole()
		if err := f.listen(); err != nil {
			return err
		}
		f.pause()
		return nil
	case BlackHole:
		wasShut := !f.accepting && f.blackHole == nil
		if err := f.startBlackHole(); err != nil {
			if wasShut {
				f.close(closeFIN) // as before
			}
			return err
		}
		f.pause()
		return nil
	}
	f.endpoint.endSessions(t.String() + " was killed")
	switch how {
	case FIN:
		f.close(closeFIN)
	case RST:
		f.close(closeRST)
	case Refuse:
		f.closeConnections(closeFIN)
	}
	return nil
}

// turnedAway judges a CONNECT by the faults alone.
func (c *Cloud) faultRefusal(conn *connection, f *frontend, where, clientID string) byte {
	at := []faultSet{f.faults}
	if device := c.devices[clientID]; device != nil {
		at = []faultSet{device.faults, f.faults}
	}
	switch {
	case c.triggered(Refuse, f.faults) != nil:
		c.reportRefusal(conn, where, clientID, "CONNACK 3: the service is unavailable")
		return refusedUnavailable
	case c.triggered(Reject, at...) != nil:
		c.reportRefusal(conn, where, clientID, "CONNACK 5: 401003: the token is rejected, though it may be good")
		return refusedCredentials
	case c.triggered(GarbageCONNACK, f.faults) != nil:
		c.reportRefusal(conn, where, clientID, "garbage in place of CONNACK")
		_, _ = conn.Write(c.garbagePacket())
		return unanswered
	}
	return accepted
}

// refuse tells why a connection got no further, so that its end is not told as another.
func (c *Cloud) reportRefusal(conn *connection, where, clientID, format string, values ...any) {
	conn.refusalReported = true
	c.emit(KindRefused, where, clientID, format, values...)
}

func (c *Cloud) otherHub(h *hub) *hub {
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
		return errNoOtherHub
	}
	c.emit(KindLizard, from.name, "", "devices of hub %s moved to hub %s", from.name, to.name)
	for _, id := range slices.Sorted(maps.Keys(c.devices)) {
		if d := c.devices[id]; d.hub == from {
			c.move(d, to)
		}
	}
	if c.defaultHub == from {
		c.defaultHub = to
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
		d.setHub(to, "initialAssignment")
	default:
		if s := from.byDevice[d.id]; s != nil {
			from.endSession(s, "the device was moved")
			s.conn.abort(closeFIN)
		}
		delete(from.keptFilters, d.id)
		d.setHub(to, "deviceDataMigrated")
	}
	c.emit(KindAssigned, to.name, d.id, "assigned to hub %s: %s", to.name, d.substatus)
}
