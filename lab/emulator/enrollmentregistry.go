package emulator

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
)

// groupID matches the names of enrollment groups: the REST reference (Enrollment Group) allows up to
// 128 letters, digits and - . _ :, with a letter or digit at both ends.
var groupID = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?$`)

// Enrollments returns the individual enrollments or the enrollment groups, sorted by ID.
func (c *Cloud) Enrollments(group bool) []Enrollment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.provisioning.list(group)
}

// Enrollment returns an enrollment, or ErrUnknownEnrollment.
func (c *Cloud) Enrollment(group bool, id string) (Enrollment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.provisioning.enrollments[enrollmentKey{group, id}]
	if e == nil {
		return Enrollment{}, fmt.Errorf("%w: %.128q", ErrUnknownEnrollment, id)
	}
	return e.Enrollment, nil
}

// PutEnrollment creates an enrollment if match is "", and otherwise replaces the version with the
// ETag match, or any version for "*". Empty keys mean new keys for a new enrollment, and the present
// keys otherwise. The change counts when a device registers the next time. Without an ETag a real DPS
// refuses to replace: azure-iot-sdk-csharp issue 3076.
func (c *Cloud) PutEnrollment(e Enrollment, match string) (Enrollment, error) {
	c.mu.Lock()
	defer c.unlock()
	old, err := c.provisioning.matching(enrollmentKey{e.Group, e.ID}, match)
	if err == nil {
		err = c.checkEnrollment(&e, old)
	}
	if err != nil {
		return Enrollment{}, err
	}
	stored, err := c.provisioning.store(e, old)
	if err != nil {
		return Enrollment{}, err
	}
	c.emit(KindRegister, TargetDPS, stored.deviceID(), "%s stored, enabled: %t", stored.name(), !e.Disabled)
	return stored.Enrollment, nil
}

// matching returns the enrollment that a change with this ETag replaces; nil means that it creates one.
func (p *provisioning) matching(key enrollmentKey, match string) (*enrollment, error) {
	old := p.enrollments[key]
	switch {
	case match == "" && old != nil:
		return nil, fmt.Errorf("%w: %q", ErrEnrollmentExists, key.id)
	case match != "" && old == nil:
		return nil, fmt.Errorf("%w: %.128q", ErrUnknownEnrollment, key.id)
	case match != "" && match != "*" && match != old.ETag:
		return nil, ErrETag
	}
	return old, nil
}

// checkEnrollment checks an enrollment and fills in its keys.
func (c *Cloud) checkEnrollment(e *Enrollment, old *enrollment) error {
	if old != nil && e.PrimaryKey == "" {
		e.PrimaryKey = old.PrimaryKey
	}
	if old != nil && e.SecondaryKey == "" {
		e.SecondaryKey = old.SecondaryKey
	}
	if e.PrimaryKey == "" && e.SecondaryKey == "" {
		e.PrimaryKey, e.SecondaryKey = newKey(), newKey()
	}
	if _, _, err := decodeKeys(e.PrimaryKey, e.SecondaryKey); err != nil {
		return err
	}
	valid := groupID
	if !e.Group {
		valid = registrationID
	}
	switch {
	case !valid.MatchString(e.ID):
		return fmt.Errorf("%w: %.200q is not a valid ID of an enrollment", ErrInvalid, e.ID)
	case e.DeviceID != "" && (e.Group || !deviceIDs.MatchString(e.DeviceID)):
		return fmt.Errorf("%w: %.200q is not a valid device ID", ErrInvalid, e.DeviceID)
	case e.Group && e.ID == DefaultGroup && (e.PrimaryKey != old.PrimaryKey || e.SecondaryKey != old.SecondaryKey):
		return fmt.Errorf("%w: the keys of the group %q are those of its configuration", ErrNotEmulated, e.ID)
	}
	return c.checkPolicies(*e)
}

func (c *Cloud) checkPolicies(e Enrollment) error {
	switch e.Allocation {
	case AllocationNone, AllocationHashed, AllocationGeoLatency:
	case AllocationStatic:
		if len(e.Hubs) != 1 {
			return fmt.Errorf("%w: a static allocation needs exactly one hub", ErrInvalid)
		}
	default:
		return fmt.Errorf("%w: it knows no allocation policy %.40q", ErrNotEmulated, e.Allocation)
	}
	for i, name := range e.Hubs {
		if _, err := c.hub(name); err != nil || slices.Contains(e.Hubs[:i], name) {
			return fmt.Errorf("%w: the hub %.100q is not linked to this DPS, or is given twice", ErrInvalid, name)
		}
	}
	if _, err := checkPatch(e.Desired); err != nil {
		return fmt.Errorf("%w: the initial desired properties: %w", ErrInvalid, err)
	}
	if _, err := checkPatch(e.Tags); err != nil {
		return fmt.Errorf("%w: the initial tags: %w", ErrInvalid, err)
	}
	return nil
}

// DeleteEnrollment deletes an enrollment. Devices that DPS has assigned stay at their hubs, but cannot
// register again.
func (c *Cloud) DeleteEnrollment(group bool, id, match string) error {
	c.mu.Lock()
	defer c.unlock()
	key := enrollmentKey{group, id}
	e, err := c.provisioning.matching(key, match)
	switch {
	case err != nil:
		return err
	case e == nil:
		return fmt.Errorf("%w: %.128q", ErrUnknownEnrollment, id)
	case group && id == DefaultGroup:
		return fmt.Errorf("%w: the group %q stays, because its key is printed at each start; disable it instead",
			ErrNotEmulated, id)
	}
	delete(c.provisioning.enrollments, key)
	c.emit(KindRegister, TargetDPS, e.deviceID(), "%s deleted", e.name())
	return nil
}

func (e *enrollment) name() string {
	if e.Group {
		return "enrollment group " + e.ID
	}
	return "individual enrollment " + e.ID
}

// deviceID returns the device of the events about an enrollment.
func (e *enrollment) deviceID() string {
	if e.Group {
		return ""
	}
	return e.ID
}

// enrollIndividually gives a registration ID a key of its own, or, for an empty key, makes it a member
// of the group again.
func (c *Cloud) enrollIndividually(id string, key []byte) error {
	at := enrollmentKey{false, id}
	if len(key) == 0 {
		delete(c.provisioning.enrollments, at)
		return nil
	}
	text := base64.StdEncoding.EncodeToString(key)
	e := Enrollment{ID: id, PrimaryKey: text, SecondaryKey: text}
	_, err := c.provisioning.store(e, c.provisioning.enrollments[at])
	return err
}
