package emulator

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
)

// A DeviceInfo is a snapshot of a device. Its maps must not be changed.
type DeviceInfo struct {
	ID        string
	Model     string // the model ID that the device sent last, to DPS or to a hub; "" means none
	Hub       string // name of the hub that the device is assigned to; "" means not assigned yet
	Connected bool
	Enabled   bool // neither the fault blocked nor the fault disabled is active
	OwnKey    bool // the device's key is its own, not derived from the key of the enrollment group
	Pending   int  // number of cloud-to-device messages that the device has not completed
	Desired   TwinSection
	Reported  TwinSection
}

// A TwinSection holds the desired or the reported properties of a twin. Numbers have the type
// json.Number.
type TwinSection struct {
	Properties map[string]any
	Version    int
	Metadata   Metadata
}

// Device returns a snapshot of a device.
func (c *Cloud) Device(deviceID string) (DeviceInfo, error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.device(deviceID)
	if err != nil {
		return DeviceInfo{}, err
	}
	return d.info(), nil
}

// Devices returns all devices that have registered or were enrolled, sorted by ID.
func (c *Cloud) Devices() []DeviceInfo {
	c.mu.Lock()
	defer c.unlock()
	var all []DeviceInfo
	for _, id := range slices.Sorted(maps.Keys(c.devices)) {
		if d, err := c.device(id); err == nil {
			all = append(all, d.info())
		}
	}
	return all
}

func (d *device) info() DeviceInfo {
	d.expire()
	info := DeviceInfo{
		ID: d.id, Model: d.model, Enabled: d.faults[Blocked] == nil && d.faults[Disabled] == nil,
		Connected: d.session() != nil, Pending: len(d.queue.pending),
		OwnKey:  !bytes.Equal(d.key, deriveKey(d.cloud.groupKey, d.id)),
		Desired: d.twin.desired.shown(), Reported: d.twin.reported.shown(),
	}
	if d.hub != nil {
		info.Hub = d.hub.name
	}
	return info
}

func (s section) shown() TwinSection { return TwinSection{s.properties, s.version, s.metadata} }

// DeviceKey returns the key, in base64, with which a device signs its tokens.
func (c *Cloud) DeviceKey(deviceID string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.device(deviceID)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(d.key), nil
}

// DeleteDevice deletes a device and its state, but not its telemetry in the ledger. A device that
// registers again is a new device. Its individual enrollment and its registration are deleted, too.
func (c *Cloud) DeleteDevice(deviceID string) error {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.device(deviceID)
	if err != nil {
		return err
	}
	c.delete(d)
	c.provisioning.forget(d)
	c.emit(KindAssigned, "", d.id, "deleted by the operator")
	return nil
}

// delete deletes a device and its state. It is called with c.mu held.
func (c *Cloud) delete(d *device) {
	d.eraseState()
	for _, a := range d.faults {
		a.stop()
	}
	delete(c.devices, d.id)
	d.hub = nil // so that clearing the fault moved does not move the deleted device back
}

// PurgeMessages deletes the cloud-to-device messages that a device has not completed, and returns
// their number.
func (c *Cloud) PurgeMessages(deviceID string) (int, error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.device(deviceID)
	if err != nil {
		return 0, err
	}
	d.expire()
	pending := len(d.queue.pending)
	d.purgeQueue()
	c.emit(KindMessage, "", d.id, "%d messages purged", pending)
	return pending, nil
}

// modelIn returns the model ID in the payload of a registration, under its current or its old name.
// Microsoft's SDK for Java and its sample for Python send the object as a JSON string.
func modelIn(payload []byte) string {
	var text string
	if json.Unmarshal(payload, &text) == nil {
		payload = []byte(text)
	}
	var names struct{ ModelID, IoTCModelID string }
	_ = json.Unmarshal(payload, &names) // ignore an error, because a payload may be any JSON
	return cmp.Or(names.ModelID, names.IoTCModelID)
}
