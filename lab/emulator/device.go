package emulator

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// ErrUnknownDevice is the error for a device that was neither registered nor enrolled.
var ErrUnknownDevice = errors.New("emulator: unknown device")

// A device is the state of one device. No hub owns it, so killing a hub does not affect it.
type device struct {
	cloud *Cloud
	id    string
	key   []byte // the primary key at its hub
	model string // the model ID that the device sent last

	hub              *hub      // the hub that the device is assigned to; nil means not assigned yet
	failover         *failover // the manual failover in progress; nil means none
	substatus        string
	created, updated time.Time
	operation        operation
	faults           faultSet
	record           record
	registrationID   string // the last registration ID under which DPS has assigned the device; "" means none
	allocated        int    // the version of the enrollment by which DPS has assigned the device last

	twin          twin
	queue         queue
	methods       map[string]chan methodAnswer // channels for the answers to pending direct methods, by $rid
	hadSession    bool                         // the device has had a session
	connectCounts map[string]int               // number of accepted CONNECTs, by hub name

	connectionUpdated time.Time // when the device has connected or disconnected last; zero means never
}

// device finds a device. The unexported functions of this file are called with c.mu held, except
// makeKnown and known.
func (c *Cloud) device(id string) (*device, error) {
	if d := c.devices[id]; d != nil && d.faults[Deleted] == nil {
		return d, nil
	}
	return nil, fmt.Errorf("%w: %.128q", ErrUnknownDevice, id)
}

// enroll returns the device. It adds an unknown device to the enrollment group.
func (c *Cloud) enroll(id string) *device {
	d := c.devices[id]
	if d == nil {
		d = c.newDevice(id)
		c.devices[id] = d
	}
	return d
}

func (c *Cloud) newDevice(id string) *device {
	primary, secondary := c.provisioning.keysFor(id)
	return &device{
		cloud: c, id: id, key: primary, record: record{secondary: secondary, etag: c.nextVersion()},
		created: time.Now(),
		faults:  faultSet{}, twin: newTwin(), methods: map[string]chan methodAnswer{}, connectCounts: map[string]int{},
	}
}

// assign assigns the device to the hub of its enrollment, or to the default hub, unless it has a hub.
func (c *Cloud) assign(d *device) {
	c.allocate(d)
	if d.hub == nil {
		d.setHub(c.defaultHub, "initialAssignment")
		c.emit(KindAssigned, d.hub.name, d.id, "to hub %s", d.hub.name)
	}
}

func (d *device) setHub(h *hub, substatus string) {
	d.endFailover()
	d.hub, d.substatus, d.updated = h, substatus, time.Now()
}

// session returns the device's session at its hub, or nil.
func (d *device) session() *session {
	if d.hub == nil {
		return nil
	}
	return d.hub.byDevice[d.id]
}

// Enroll makes a device known before it registers. The key is the device's own, in base64; "" makes
// it a member of the group.
func (c *Cloud) Enroll(deviceID, key string) error {
	if !registrationID.MatchString(deviceID) {
		return fmt.Errorf("emulator: enroll: %.200q is not a valid registration ID", deviceID)
	}
	return c.makeKnown(deviceID, key)
}

func (c *Cloud) makeKnown(deviceID, key string) error {
	own, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return errors.New("emulator: enroll: the key is not base64")
	}
	c.mu.Lock()
	defer c.unlock()
	d := c.enroll(deviceID)
	if err := c.enrollIndividually(deviceID, own); err != nil {
		return err
	}
	d.key, d.record.secondary = c.provisioning.keysFor(deviceID)
	return nil
}

// Assign enrolls a device, unless it is known, and assigns it to a hub as DPS would. Tests that
// start at the hub use it. The ID must follow the rules of a hub, which allow more than those of
// DPS.
func (c *Cloud) Assign(deviceID, hubName string) error {
	if err := c.known(deviceID); err != nil {
		if !deviceIDs.MatchString(deviceID) {
			return fmt.Errorf("emulator: assign: %.200q is not a valid device ID", deviceID)
		}
		if err := c.makeKnown(deviceID, ""); err != nil {
			return err
		}
	}
	return c.MoveDevice(deviceID, hubName)
}

func (c *Cloud) known(deviceID string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.device(deviceID)
	return err
}

// HubOf returns the name of the hub that a device is assigned to, or "".
func (c *Cloud) HubOf(deviceID string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.devices[deviceID]; d != nil && d.hub != nil {
		return d.hub.name
	}
	return ""
}

// Connects returns the number of CONNECTs of a device that a hub has accepted.
func (c *Cloud) Connects(deviceID, hubName string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.devices[deviceID]; d != nil {
		return d.connectCounts[hubName]
	}
	return 0
}

// Connected reports whether a device has a session at a hub. The answer may be outdated when it
// returns.
func (c *Cloud) Connected(deviceID, hubName string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, err := c.hub(hubName)
	return err == nil && h.byDevice[deviceID] != nil
}
