package emulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The functions of this file take endpoints down and move devices. The effect of a call has begun
// when the call returns. Killing a hub does not change the state of its devices: twins, queues, the
// ledger and the assignments stay.

// The faults of GroupDown, which KillHub can inject.
const (
	FIN       Fault = "fin"
	RST       Fault = "rst"
	Refuse    Fault = "refuse"
	Silence   Fault = "silence"
	BlackHole Fault = "black-hole"
)

// GroupDown is the group of the faults that take an endpoint down. An endpoint has at most one fault
// of this group at a time.
const GroupDown = "down"

// Reject is the fault with which an endpoint refuses all logins, also logins with a valid token.
const Reject Fault = "reject"

var errNoOtherHub = errors.New("emulator: move: there is no other hub")

// A KillOption is an option of KillHub.
type KillOption int

// WithMove moves the devices of the killed hub to the other hub (the next one, if there are more).
// Without WithMove, DPS continues to assign the devices to the killed hub.
const WithMove KillOption = 1

// KillHub injects one of the faults of GroupDown into a hub. The new fault replaces an active one.
func (c *Cloud) KillHub(name string, how Fault, options ...KillOption) error {
	c.mu.Lock()
	defer c.unlock()
	h, err := c.hub(name)
	if err != nil {
		return err
	}
	if k, err := findFault(how); err != nil || k.Group != GroupDown {
		return fmt.Errorf("emulator: kill hub: %q does not take a hub down; %s, %s, %s, %s and %s do",
			how, FIN, RST, Refuse, Silence, BlackHole)
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

// ReviveHub clears the faults of GroupDown at a hub. The hub has the same port and the same stored
// subscriptions as before. Devices that were moved stay at their new hub.
func (c *Cloud) ReviveHub(name string) error {
	c.mu.Lock()
	defer c.unlock()
	h, err := c.hub(name)
	if err != nil {
		return err
	}
	err = c.clearMatching(target{kind: TargetHub, name: name, frontend: h.frontend}, isDownFault)
	return named(err, "revive hub %s", name)
}

func isDownFault(k *faultKind) bool { return k.Group == GroupDown }

// takeDown starts one of the faults of GroupDown. With Silence and BlackHole, sessions continue
// until their keep-alive ends.
func takeDown(c *Cloud, t target, how Fault) error {
	f := t.frontend
	switch how {
	case Refuse:
		f.endBlackHole()
		if err := f.listen(); err != nil { // an earlier fault of the group may have closed the listener
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
		wasClosed := !f.accepting && f.blackHole == nil
		if err := f.startBlackHole(); err != nil {
			if wasClosed {
				f.close(closeFIN) // close the endpoint again, as it was before this call
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

// faultRefusal returns the CONNACK code that the active faults demand for a CONNECT.
func (c *Cloud) faultRefusal(conn *connection, f *frontend, where, clientID string) byte {
	at := []faultSet{f.faults}
	if device := c.devices[clientID]; device != nil {
		at = []faultSet{device.faults, f.faults}
	}
	switch {
	case c.triggered(Refuse, f.faults) != nil:
		c.reportRefusal("", conn, where, clientID, "CONNACK 3: the service is unavailable")
		return refusedUnavailable
	case c.triggered(Reject, at...) != nil:
		c.reportRefusal("", conn, where, clientID, "CONNACK 5: 401003: the fault reject refuses all tokens")
		return refusedCredentials
	case c.triggered(GarbageCONNACK, f.faults) != nil:
		c.reportRefusal("", conn, where, clientID, "garbage instead of CONNACK")
		_, _ = conn.Write(c.garbagePacket())
		return unanswered
	}
	return accepted
}

// reportRefusal emits the event for a refused connection, so that its end is not reported as a
// second refusal. The empty refusal means that a fault has refused the connection.
func (c *Cloud) reportRefusal(r refusal, conn *connection, where, clientID, format string, values ...any) {
	conn.refusalReported = true
	c.emitRefusal(r, KindRefused, where, clientID, format, values...)
}

func (c *Cloud) otherHub(h *hub) *hub {
	i := slices.Index(c.hubs, h)
	return c.hubs[(i+1)%len(c.hubs)]
}

// MoveDevices moves all devices of one hub to another. If the first hub is the default for new
// devices, the second hub becomes the default.
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
	for _, d := range from.devices() {
		c.move(d, to)
	}
	if c.defaultHub == from {
		c.defaultHub = to
	}
	return nil
}

// devices returns the devices that are assigned to the hub, sorted by ID.
func (h *hub) devices() []*device {
	var all []*device
	for _, id := range slices.Sorted(maps.Keys(h.cloud.devices)) {
		if d := h.cloud.devices[id]; d.hub == h {
			all = append(all, d)
		}
	}
	return all
}

// MoveDevice moves one device. Its socket at the old hub closes, CONNECT there is refused with 5
// from then on, and DPS assigns the new hub with the substatus deviceDataMigrated. A device without
// a hub is only assigned.
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
	c.emit(KindAssigned, to.name, d.id, "to hub %s: %s", to.name, d.substatus)
}
