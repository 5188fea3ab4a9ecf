package emulator

import (
	"net"
	"strings"
)

// A Variable is an environment variable of a client.
type Variable struct{ Name, Value string }

// Variables returns the address of DPS and of each hub as variables for the clients of others, in
// each form that an SDK takes, and the path and the password of the file with TrustStore.
// None of them is a secret.
func (c *Cloud) Variables(trustStore string) []Variable {
	all := addressVariables("EMULATOR_DPS", c.dps.frontend.address)
	for _, h := range c.hubs {
		all = append(all, addressVariables(hubVariable(h), h.address)...)
	}
	return append(all, Variable{"EMULATOR_TRUST_STORE", trustStore},
		Variable{"EMULATOR_TRUST_STORE_PASSWORD", TrustStorePassword})
}

// DeviceVariables returns the connection strings of a device as variables: for each hub, and for the
// device's own hub under the name that Microsoft's samples use. They contain the device's key.
func (c *Cloud) DeviceVariables(deviceID string) ([]Variable, error) {
	var all []Variable
	for _, h := range c.hubs {
		text, err := c.ConnectionString(deviceID, h.name)
		if err != nil {
			return nil, err
		}
		all = append(all, Variable{hubVariable(h) + "_CONNECTION_STRING", text})
		if c.HubOf(deviceID) == h.name {
			all = append(all, Variable{"IOTHUB_DEVICE_CONNECTION_STRING", text})
		}
	}
	return all, nil
}

func hubVariable(h *hub) string { return "EMULATOR_HUB_" + variableName(h.name) }

// addressVariables returns host:port in all its parts.
func addressVariables(prefix, address string) []Variable {
	host, port, _ := net.SplitHostPort(address) // the address is of a listener, so it has a port
	return []Variable{
		{prefix + "_HOST", host}, {prefix + "_PORT", port}, {prefix + "_ADDRESS", address},
	}
}

// variableName returns a name with only the characters that the name of a variable may have.
func variableName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, name)
}
