package payloads

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// CommandFilter returns the subscription for the cloud-to-device messages of a device. Source:
// azure-docs iot/iot-mqtt-connect-to-iot-hub.md.
func CommandFilter(deviceID string) string { return commandPrefix(deviceID) + "/#" }

func commandPrefix(deviceID string) string { return "devices/" + deviceID + "/messages/devicebound" }

// A Message is a cloud-to-device message. A message with a Name is an offline command of IoT
// Central, which was queued while the device was offline and has no response.
type Message struct {
	ID            string            // given by the back end; the hub may deliver a message more than once
	CorrelationID string            // given by the back end; may be ""
	Name          string            // name of the command; "" if the message is no command
	Component     string            // component of the model; "" means the root
	Properties    map[string]string // without system properties; of equal names the first counts; a null is ""
	Body          []byte

	// BadProperties names the properties that could not be read; nil means that all were read.
	// Properties that are not percent-encoded UTF-8 are kept as they stand in the topic. If a
	// command's name holds a star but is not component*command, Name is the whole text.
	BadProperties error
}

// ParseMessage reads a cloud-to-device message to this device. A single bad property is no error,
// because a device completes a message that it cannot read, and would lose it.
func ParseMessage(deviceID, topic string, body []byte) (Message, error) {
	rest, ok := strings.CutPrefix(topic, commandPrefix(deviceID))
	if !ok || rest != "" && rest[0] != '/' {
		return Message{}, fmt.Errorf("payloads: message: topic %.80q is not of device %.80q", topic, deviceID)
	}
	properties, faults := readBag(strings.TrimPrefix(rest, "/"))
	m := Message{Properties: map[string]string{}, Body: bytes.Clone(body)}
	m.ID, _ = properties.get("$.mid")
	m.CorrelationID, _ = properties.get("$.cid")
	for _, p := range properties {
		_, again := m.Properties[p.Name]
		switch {
		case strings.HasPrefix(p.Name, "$."):
		case again:
			faults.add("%.80q stands twice: the first counts", p.Name)
		default:
			m.Properties[p.Name] = p.Value
		}
	}
	m.Name = m.Properties["method-name"]
	if component, name, found := strings.Cut(m.Name, "*"); found && component != "" && name != "" {
		m.Component, m.Name = component, name
	} else if found {
		faults.add("the command's name %.80q is not component*command", m.Name)
	}
	m.BadProperties = faults.err()
	return m, nil
}

// Parameter returns the parameter of a command as JSON, and nil if there is none. IoT Central sends
// "@" for no parameter, and strings without quotes, so a string that is valid JSON, such as 12, is
// returned as that JSON. A body that is not UTF-8 is an error, because JSON cannot hold it.
func (m Message) Parameter() (json.RawMessage, error) {
	switch {
	case len(m.Body) == 0 || string(m.Body) == "@":
		return nil, nil
	case !utf8.Valid(m.Body):
		return nil, errors.New("payloads: command: the parameter is not UTF-8")
	case json.Valid(m.Body):
		return bytes.Clone(bytes.TrimSpace(m.Body)), nil
	}
	return json.Marshal(string(m.Body))
}
