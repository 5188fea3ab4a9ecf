package emulator

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// ErrUnknownRegistration is the error for a registration ID that has not registered.
var ErrUnknownRegistration = errors.New("emulator: there is no such registration")

// A Registration is what DPS knows of a device that has registered.
type Registration struct {
	ID, Group, DeviceID string // Group is "" for an individual enrollment
	Status, Substatus   string // as in DPS's answers to the device
	AssignedHub         string // the host of the hub, or ""
	ErrorCode           int
	ErrorMessage        string
	ETag                string
	Created, Updated    time.Time
	Payload             json.RawMessage
}

// A registration is the stored part of a Registration. The rest is the state of the device.
type registration struct {
	group, deviceID string
	assignedHub     string // the host of the hub at the last assignment
	created         time.Time
	version         int
}

// RegistrationState returns what DPS knows of a registration ID, or ErrUnknownRegistration.
func (c *Cloud) RegistrationState(id string) (Registration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.provisioning.registrations[id]; r != nil {
		return c.shownRegistration(id, r), nil
	}
	return Registration{}, fmt.Errorf("%w: %.128q has not registered", ErrUnknownRegistration, id)
}

// RegistrationStates returns the registrations by an enrollment group, sorted by ID.
func (c *Cloud) RegistrationStates(group string) ([]Registration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.provisioning.enrollments[enrollmentKey{true, group}] == nil {
		return nil, fmt.Errorf("%w: %.128q", ErrUnknownEnrollment, group)
	}
	var all []Registration
	for _, id := range slices.Sorted(maps.Keys(c.provisioning.registrations)) {
		if r := c.provisioning.registrations[id]; r.group == group {
			all = append(all, c.shownRegistration(id, r))
		}
	}
	return all, nil
}

// DeleteRegistration makes DPS forget a registration. The device stays at its hub.
func (c *Cloud) DeleteRegistration(id, match string) error {
	c.mu.Lock()
	defer c.unlock()
	r := c.provisioning.registrations[id]
	switch {
	case r == nil:
		return fmt.Errorf("%w: %.128q has not registered", ErrUnknownRegistration, id)
	case match != "" && match != "*" && match != etag(r.version):
		return ErrETag
	}
	delete(c.provisioning.registrations, id)
	c.emit(KindRegister, TargetDPS, id, "registration deleted")
	return nil
}

func (c *Cloud) shownRegistration(id string, r *registration) Registration {
	s := Registration{
		ID: id, Group: r.group, DeviceID: r.deviceID, Status: "assigned", AssignedHub: r.assignedHub,
		ETag: etag(r.version), Created: r.created, Updated: r.created,
	}
	d := c.devices[r.deviceID]
	switch {
	case d != nil && d.faults[Blocked] != nil:
		s.Status, s.AssignedHub = "failed", ""
		s.ErrorCode, s.ErrorMessage = 400209, "The device is blocked or waits for approval."
	case d != nil && d.hub != nil:
		s.AssignedHub, s.Substatus, s.Updated = d.hub.host, d.substatus, d.updated
		s.Payload = json.RawMessage(c.config.AllocationPayload)
	case r.assignedHub == "":
		s.Status = "assigning"
	}
	return s
}

// deviceIDOf returns the device ID of a registration ID.
func (p *provisioning) deviceIDOf(registrationID string) string {
	if e := p.enrollments[enrollmentKey{false, registrationID}]; e != nil {
		return cmp.Or(e.DeviceID, registrationID)
	}
	return registrationID
}

// refusal returns the error with which DPS refuses the requests of a client whose enrollment is disabled
// or was deleted since its login. A status of 0 means that nothing is wrong.
func (p *provisioning) refusal(registrationID string) (status, code int, message string) {
	key, known := p.lastLogin[registrationID]
	switch e := p.enrollments[key]; {
	case known && e == nil:
		return 404, 404201, "There is no such enrollment."
	case e != nil && e.Disabled:
		return 403, 403001, "The enrollment is disabled."
	}
	return 0, 0, ""
}

// registering returns the device of a registration ID that registers, and records the registration. It
// is called with c.mu held.
func (c *Cloud) registering(id string) *device {
	p := c.provisioning
	d := c.enroll(p.deviceIDOf(id))
	d.registrationID = id
	r := p.registrations[id]
	if r == nil {
		r = &registration{created: time.Now()}
		p.registrations[id] = r
	}
	r.deviceID, r.group, r.version = d.id, "", c.nextVersion()
	if key := p.lastLogin[id]; key.group {
		r.group = key.id
	}
	return d
}

// allocate applies the enrollment of a device that registers: its keys, and its hub if the device has
// none or if the enrollment was changed since the last assignment. So a move by an operator lasts
// until somebody changes the enrollment.
func (c *Cloud) allocate(d *device) {
	p := c.provisioning
	e := p.enrollments[p.lastLogin[d.registrationID]]
	if d.registrationID == "" || e == nil {
		return
	}
	d.key, d.record.secondary = e.keys(d.registrationID)
	target := e.choose(c, d.registrationID)
	switch {
	case d.hub == nil:
		d.setInitialTwin(e)
		d.setHub(target, "initialAssignment")
		c.emit(KindAssigned, d.hub.name, d.id, "to hub %s", d.hub.name)
	case d.allocated == e.version, e.KeepHub, e.Allocation == AllocationNone && len(e.Hubs) == 0,
		slices.Contains(e.hubs(c), d.hub):
	default:
		c.move(d, target)
		if e.ResetData {
			d.purgeQueue()
			d.setInitialTwin(e)
			d.substatus = "deviceDataReset"
		}
	}
	d.allocated = e.version
	if r := p.registrations[d.registrationID]; r != nil {
		r.assignedHub = d.hub.host
	}
}

// setInitialTwin gives the device the twin of its enrollment, if the enrollment has one.
func (d *device) setInitialTwin(e *enrollment) {
	if len(e.Tags) == 0 && len(e.Desired) == 0 && !e.ResetData {
		return
	}
	d.twin = newTwin()
	d.twin.tags = merge(nil, e.Tags)
	desired := &d.twin.desired
	desired.properties = merge(nil, e.Desired)
	desired.metadata = desired.metadata.merge(e.Desired, time.Now(), desired.version)
}

// forget deletes what DPS has stored about a device.
func (p *provisioning) forget(d *device) {
	for id, r := range p.registrations {
		if r.deviceID == d.id {
			delete(p.registrations, id)
			delete(p.enrollments, enrollmentKey{false, id})
		}
	}
	delete(p.enrollments, enrollmentKey{false, d.id})
}
