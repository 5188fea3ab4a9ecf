package emulator

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// ErrUnknownDevice is the answer for a device that has not registered and was not enrolled.
var ErrUnknownDevice = errors.New("emulator: unknown device")

// A device is all that the cloud knows of one. It belongs to no hub, so it outlives a killed one.
type device struct {
	cloud *Cloud
	id    string
	key   []byte
	model string // the model ID that it named last

	hub              *hub      // nil until assigned
	failover         *failover // by hand; nil: where it is, it stays
	substatus        string
	created, updated time.Time
	operation        operation
	faults           faultSet

	twin          twin
	queue         queue
	methods       map[string]chan methodAnswer // direct methods that wait, by $rid
	hadSession    bool                         // it has had a session
	connectCounts map[string]int               // accepted CONNECTs by hub
}

// device finds a device. It is called with c.mu held, as are all in this file without a capital.
func (c *Cloud) device(id string) (*device, error) {
	if d := c.devices[id]; d != nil && d.faults[Deleted] == nil {
		return d, nil
	}
	return nil, fmt.Errorf("%w: %.128q", ErrUnknownDevice, id)
}

// enroll returns the device, making it known to the group if it is not.
func (c *Cloud) enroll(id string) *device {
	d := c.devices[id]
	if d == nil {
		d = c.newDevice(id)
		c.devices[id] = d
	}
	return d
}

func (c *Cloud) newDevice(id string) *device {
	return &device{
		cloud: c, id: id, key: deriveKey(c.groupKey, id), created: time.Now(),
		faults: faultSet{}, twin: newTwin(), methods: map[string]chan methodAnswer{}, connectCounts: map[string]int{},
	}
}

// keyOf is the key that a registration ID has to sign with: its own, or the one derived from the group's.
func (c *Cloud) keyOf(id string) []byte {
	if d := c.devices[id]; d != nil {
		return d.key
	}
	return deriveKey(c.groupKey, id)
}

// assign decides which hub a device belongs to, if that is still open.
func (c *Cloud) assign(d *device) {
	if d.hub == nil {
		d.setHub(c.defaultHub, "initialAssignment")
		c.emit(KindAssigned, d.hub.name, d.id, "assigned to hub %s", d.hub.name)
	}
}

func (d *device) setHub(h *hub, substatus string) {
	d.endFailover()
	d.hub, d.substatus, d.updated = h, substatus, time.Now()
}

// session is the device's connection to its hub, or nil.
func (d *device) session() *session {
	if d.hub == nil {
		return nil
	}
	return d.hub.byDevice[d.id]
}

// Enroll makes a device known before it registers: with a key of its own (base64), or with "" as a member of the group.
func (c *Cloud) Enroll(deviceID, key string) error {
	if !registrationID.MatchString(deviceID) {
		return fmt.Errorf("emulator: enroll: %.200q is no registration ID", deviceID)
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
	if d.key = own; key == "" {
		d.key = deriveKey(c.groupKey, deviceID)
	}
	return nil
}

// Assign enrolls a device if need be and assigns it to a hub as DPS would, for whoever starts at the hub. Its
// ID follows a hub's rules, which allow more than those of DPS.
func (c *Cloud) Assign(deviceID, hubName string) error {
	if err := c.known(deviceID); err != nil {
		if !deviceIDs.MatchString(deviceID) {
			return fmt.Errorf("emulator: assign: %.200q is no device ID", deviceID)
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

// HubOf is the name of the hub that a device is assigned to, or "".
func (c *Cloud) HubOf(deviceID string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.devices[deviceID]; d != nil && d.hub != nil {
		return d.hub.name
	}
	return ""
}

// Connects counts the CONNECTs of a device that a hub has accepted.
func (c *Cloud) Connects(deviceID, hubName string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.devices[deviceID]; d != nil {
		return d.connectCounts[hubName]
	}
	return 0
}

// Connected tells whether a device has a session at a hub now. It may be stale when you read it.
func (c *Cloud) Connected(deviceID, hubName string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, err := c.hub(hubName)
	return err == nil && h.byDevice[deviceID] != nil
}
