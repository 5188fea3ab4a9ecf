package payloads

import (
	"fmt"
	"strings"
)

const (
	product    = "failover"
	dpsVersion = "2019-03-31" // azure-docs iot/iot-mqtt-connect-to-iot-dps.md
	hubVersion = "2021-04-12" // azure-docs iot/iot-mqtt-connect-to-iot-hub.md; model-id needs 2020-09-30 or later
)

// The greatest lengths of IDs, in characters. Sources: azure-docs iot-dps/concepts-service.md,
// iot-hub/iot-hub-devguide-identity-registry.md.
const (
	maxRegistrationID = 128
	maxDeviceID       = 128
)

// RegistrationUsername returns the MQTT user name for DPS. Unlike the user name for a hub, it has
// no question mark. Source: azure-docs iot/iot-mqtt-connect-to-iot-dps.md.
func RegistrationUsername(idScope, registrationID string) string {
	return idScope + "/registrations/" + registrationID + "/api-version=" + dpsVersion + "&ClientVersion=" + product
}

// HubUsername returns the MQTT user name for a hub. hub is the name that DPS gave, with its port if
// it has one. modelID is the ID of the device's DTDL model; "" leaves it out. Source: azure-docs
// iot/iot-mqtt-connect-to-iot-hub.md.
func HubUsername(hub, deviceID, modelID string) string {
	username := hub + "/" + deviceID + "/?api-version=" + hubVersion
	if modelID != "" {
		username += "&model-id=" + escape(modelID)
	}
	return username
}

// CheckRegistrationID returns an error if DPS would refuse a registration ID. It refuses only what
// every public document refuses. azure-docs iot-dps/concepts-service.md allows up to 128 letters,
// digits and - . _ : without regard to case, with a letter, a digit or a dash at the end. The REST
// reference (Runtime Registration, Register Device) allows no special character at either end, and
// older pages no capital letter.
func CheckRegistrationID(id string) error {
	const special = "._-:"
	switch {
	case id == "" || len(id) > maxRegistrationID:
		return fmt.Errorf("payloads: registration ID: %d characters: give it 1 to %d", len(id), maxRegistrationID)
	case !hasOnly(id, special):
		return fmt.Errorf("payloads: registration ID %.200q: use only letters, digits and %s", id, special)
	case !hasOnly(id[len(id)-1:], "-"):
		return fmt.Errorf("payloads: registration ID %.200q: end it with a letter, a digit or a dash", id)
	}
	return nil
}

// CheckDeviceID returns an error for a device ID that no hub gives or that MQTT cannot carry.
// azure-docs iot-hub/iot-hub-devguide-identity-registry.md and the REST reference allow up to 128
// letters, digits and the characters below, and also + and #, which MQTT 3.1.1 (4.7.1) keeps for
// filters. The ID stands in topics without encoding, as in Microsoft's SDKs.
func CheckDeviceID(id string) error {
	switch i := strings.IndexAny(id, "+#"); {
	case id == "" || len(id) > maxDeviceID:
		return fmt.Errorf("payloads: device ID of %d characters: it has 1 to %d", len(id), maxDeviceID)
	case i >= 0:
		return fmt.Errorf("payloads: device ID %.200q holds %c, with which no device can publish over MQTT: "+
			"give the enrollment another device ID", id, id[i])
	case !hasOnly(id, "-:._%*?!(),=@;$'"):
		return fmt.Errorf("payloads: device ID %.200q has a character that IoT Hub does not allow", id)
	}
	return nil
}
