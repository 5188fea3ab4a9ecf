package emulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The giant lizard: every fault by its name. Each takes effect before its call returns, and none touches what belongs to the
// cloud: twins, queues, the ledger and the assignments stay.

// A Kill is a way for a hub to die.
type Kill string

// The ways for a hub to die.
const (
	FIN    Kill = "fin"    // its connections end, and new ones are refused: nobody listens
	RST    Kill = "rst"    // the same, but its connections are reset
	Refuse Kill = "refuse" // its connections end; new ones get as far as TLS and CONNACK 3
)

var errNoOther = errors.New("emulator: move: there is no other hub")

// A KillOption is something that happens along with a kill.
type KillOption int

// WithMove moves the killed hub's devices to the other hub (the next, if there are more), without which DPS goes on
// assigning them to the dead one.
const WithMove KillOption = 1

// KillHub kills a hub. Killing a dead one changes the way in which it is dead.
func (c *Cloud) KillHub(name string, how Kill, options ...KillOption) error {
	c.mu.Lock()
	defer c.unlock()
	h, err := c.hub(name)
	if err != nil {
		return err
	}
	switch how {
	case FIN, RST, Refuse:
	default:
		return fmt.Errorf("emulator: there is no way %q to kill a hub; there are %s, %s and %s", how, FIN, RST, Refuse)
	}
	moves := slices.Contains(options, WithMove)
	if moves && len(c.hubs) == 1 {
		return errNoOther
	}
	if how == Refuse {
		if err := h.door.open(h.address); err != nil { // it may have been dead in another way
			return fmt.Errorf("emulator: kill hub %s: %w", name, err)
		}
	}
	c.tell(KindLizard, name, "", "hub %s killed: %s", name, how)
	h.dropAll("the hub was killed")
	h.refusing = how == Refuse
	switch how {
	case FIN:
		h.door.shut(finish)
	case RST:
		h.door.shut(reset)
	case Refuse:
		h.door.endAll(finish)
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
	if err := h.door.open(h.address); err != nil {
		return fmt.Errorf("emulator: revive hub %s: %w", name, err)
	}
	h.refusing = false
	c.tell(KindLizard, name, "", "hub %s revived", name)
	return nil
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

// StopDPS refuses connections to DPS and ends those there are. StartDPS ends that.
func (c *Cloud) StopDPS() error {
	c.mu.Lock()
	defer c.unlock()
	c.tell(KindLizard, "DPS", "", "DPS stopped")
	c.dps.dropAll("DPS was stopped")
	c.dps.door.shut(finish)
	return nil
}

// StartDPS brings DPS back on the same port.
func (c *Cloud) StartDPS() error {
	c.mu.Lock()
	defer c.unlock()
	if err := c.dps.door.open(c.dps.door.address); err != nil {
		return fmt.Errorf("emulator: start DPS: %w", err)
	}
	c.tell(KindLizard, "DPS", "", "DPS started")
	return nil
}

// A DPSFault is a way for DPS to answer wrongly.
type DPSFault string

// The faults of DPS. All but the last three answer every request.
const (
	DPSHealthy      DPSFault = ""
	DPSThrottles    DPSFault = "throttles"    // 429 with a retry-after
	DPSUnavailable  DPSFault = "unavailable"  // 503 without one
	DPSUnauthorized DPSFault = "unauthorized" // 401
	DPSForbids      DPSFault = "forbids"      // 403: the enrollment is disabled
	DPSForgets      DPSFault = "forgets"      // 404: there is no enrollment
	DPSRefuses      DPSFault = "refuses"      // CONNACK 5
	DPSFails        DPSFault = "fails"        // the operation ends as failed
	DPSDisabled     DPSFault = "disabled"     // the operation ends as disabled
)

var dpsAnswers = map[DPSFault]struct {
	status, code int
	message      string
}{
	DPSThrottles:    {429, 429001, "Too many requests."},
	DPSUnavailable:  {503, 503001, "The service is unavailable."},
	DPSUnauthorized: {401, 401002, "Unauthorized."},
	DPSForbids:      {403, 403001, "The enrollment is disabled."},
	DPSForgets:      {404, 404201, "There is no such enrollment."},
}

// BreakDPS makes DPS answer wrongly until DPSHealthy.
func (c *Cloud) BreakDPS(fault DPSFault) error {
	c.mu.Lock()
	defer c.unlock()
	switch fault {
	case DPSHealthy, DPSRefuses, DPSFails, DPSDisabled:
	default:
		if _, known := dpsAnswers[fault]; !known {
			return fmt.Errorf("emulator: DPS has no fault %q", fault)
		}
	}
	c.dps.fault = fault
	c.tell(KindLizard, "DPS", "", "DPS fault: %q", fault)
	return nil
}

func (q dpsRequest) answerFault() bool {
	a, broken := dpsAnswers[q.fault]
	if !broken {
		return false
	}
	q.cloud.tell(KindRegister, "DPS", q.registrant.id, "answered %d", a.status)
	if q.fault == DPSThrottles {
		q.throttle()
		return true
	}
	q.fail(a.status, a.code, a.message)
	return true
}
