package payloads

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	product           = "failover"
	dpsVersion        = "2019-03-31" // azure-docs iot-dps/iot-mqtt-connect-to-iot-dps.md
	hubVersion        = "2021-04-12" // azure-docs iot/iot-mqtt-connect-to-iot-hub.md; for model-id, 2020-09-30 or later
	maxRegistrationID = 128
)

// RegistrationUsername is the MQTT username for DPS. Unlike the hub's it has no question mark.
func RegistrationUsername(idScope, registrationID string) string {
	return idScope + "/registrations/" + registrationID + "/api-version=" + dpsVersion +
		"&ClientVersion=" + escape(product)
}

// HubUsername is the MQTT username for a hub, which is named as DPS named it, its port included. The
// model ID tells which DTDL model the device follows; "" leaves it out.
func HubUsername(hub, deviceID, modelID string) string {
	username := hub + "/" + deviceID + "/?api-version=" + hubVersion
	if modelID != "" {
		username += "&model-id=" + escape(modelID)
	}
	return username
}

// CheckRegistrationID says what is wrong with a registration ID before DPS does. It refuses only what every
// public document refuses. azure-docs iot-dps/concepts-service.md: up to 128 letters, digits and - . _ :
// without regard to case, with a letter, a digit or a dash at the end. The REST reference (Runtime
// Registration, Register Device) allows no special character at either end, and older pages no capital letter.
func CheckRegistrationID(id string) error {
	const special = "._-:"
	if id == "" || len(id) > maxRegistrationID {
		return fmt.Errorf("payloads: registration ID: %d characters: give it 1 to %d", len(id), maxRegistrationID)
	}
	for i := range len(id) {
		if c := id[i]; !isAlphanumeric(c) && strings.IndexByte(special, c) < 0 {
			return fmt.Errorf("payloads: registration ID %.200q: use only letters, digits and %s", id, special)
		}
	}
	if last := id[len(id)-1]; !isAlphanumeric(last) && last != '-' {
		return fmt.Errorf("payloads: registration ID %.200q: end it with a letter, a digit or a dash", id)
	}
	return nil
}

// CheckDeviceID refuses a device ID that no hub gives, or that MQTT cannot carry. azure-docs
// iot-hub/iot-hub-devguide-identity-registry.md and the REST reference allow up to 128 letters, digits and the
// characters below, besides + and #, which MQTT 3.1.1 (4.7.1) keeps for filters. The ID stands in topics as it
// is: SDKs do not encode it.
func CheckDeviceID(id string) error {
	if id == "" || len(id) > maxDeviceID {
		return fmt.Errorf("payloads: device ID of %d characters: it has 1 to %d", len(id), maxDeviceID)
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c == '+' || c == '#':
			return fmt.Errorf("payloads: device ID %.200q holds %c, with which no device can publish over MQTT: "+
				"give the enrollment another device ID", id, c)
		case !isAlphanumeric(c) && strings.IndexByte("-:._%*?!(),=@;$'", c) < 0:
			return fmt.Errorf("payloads: device ID %.200q has a character that IoT Hub does not allow", id)
		}
	}
	return nil
}

// HostPort splits a hub's or DPS's name: "name", "name:port" or "[::1]:port". Without a port it gives
// the default one.
func HostPort(hub string, defaultPort string) (host, port string, err error) {
	if host, port, err = hostPort(hub, defaultPort); err != nil {
		return "", "", fmt.Errorf("payloads: host: %w", err)
	}
	return host, port, nil
}

func hostPort(hub, defaultPort string) (host, port string, err error) {
	var valid, hasPort bool
	if inside, ok := strings.CutPrefix(hub, "["); ok {
		host, port, ok = strings.Cut(inside, "]")
		port, hasPort = strings.CutPrefix(port, ":")
		ip, err := netip.ParseAddr(host)
		valid = ok && err == nil && ip.Is6() && ip.Zone() == "" && (hasPort || port == "")
	} else {
		host, port, hasPort = strings.Cut(hub, ":")
		valid = isHostName(host)
	}
	if !valid {
		return "", "", fmt.Errorf("%.200q: expected a name without scheme or path, such as "+
			"name, name:8883 or [::1]:8883", hub)
	}
	if !hasPort {
		return host, defaultPort, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "", fmt.Errorf("%.200q: expected a port between 1 and 65535 after the colon", hub)
	}
	return host, strconv.FormatUint(n, 10), nil
}

func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || label[0] == '-' {
			return false
		}
		for i := range len(label) {
			if !isAlphanumeric(label[i]) && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	return true
}
