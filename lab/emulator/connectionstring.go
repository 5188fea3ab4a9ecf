package emulator

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// ErrAtOtherHub is the error of CreateDevice for a device that exists at another hub.
var ErrAtOtherHub = errors.New("emulator: the device is at another hub")

// CreateDevice creates a device at a hub, so that it can connect with its connection string and
// without DPS. It does nothing if the device is at a hub already, and returns the name of the
// device's hub and whether the device is new there. An empty hubName means the hub of the device, or
// else the hub to which DPS assigns new devices. The key is derived from the group key, unless Enroll has
// set another one. The ID must follow the rules of a hub. A real hub refuses a device that was not
// created there, too: azure-docs iot-hub/iot-hub-devguide-identity-registry.md.
func (c *Cloud) CreateDevice(deviceID, hubName string) (hub string, isNew bool, err error) {
	if !deviceIDs.MatchString(deviceID) {
		return "", false, fmt.Errorf("emulator: %.200q is not a valid device ID", deviceID)
	}
	if strings.Contains(deviceID, ";") {
		return "", false, fmt.Errorf("emulator: the device ID %q has a semicolon, "+
			"which ends a field of a connection string", deviceID)
	}
	c.mu.Lock()
	defer c.unlock()
	at := c.defaultHub
	if hubName != "" {
		if at, err = c.hub(hubName); err != nil {
			return "", false, err
		}
	}
	d := c.enroll(deviceID)
	switch {
	case d.faults[Deleted] != nil:
		return "", false, fmt.Errorf("emulator: %s has the active fault %s: clear it first", deviceID, Deleted)
	case d.hub == nil:
		d.setHub(at, "initialAssignment")
		c.emit(KindAssigned, at.name, d.id, "to hub %s, without DPS", at.name)
		return at.name, true, nil
	case hubName != "" && d.hub != at:
		return "", false, fmt.Errorf("%w: %s is at hub %s", ErrAtOtherHub, deviceID, d.hub.name)
	}
	return d.hub.name, false, nil
}

// ConnectionString returns what a device needs to connect to a hub without DPS:
// "HostName=…;DeviceId=…;SharedAccessKey=…", as azure-docs iot-hub/iot-hub-devguide-security.md
// describes it. The hub accepts the device only while the device is assigned to it. The host has a
// port, unless Config.OwnAddresses is set.
func (c *Cloud) ConnectionString(deviceID, hubName string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.device(deviceID)
	if err != nil {
		return "", err
	}
	h, err := c.hub(hubName)
	if err != nil {
		return "", err
	}
	return "HostName=" + h.host + ";DeviceId=" + d.id + ";SharedAccessKey=" +
		base64.StdEncoding.EncodeToString(d.key), nil
}
