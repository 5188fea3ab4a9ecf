package payloads

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// CommandFilter is the subscription for a device's cloud-to-device messages.
func CommandFilter(deviceID string) string {
	return commandPrefix(deviceID) + "/#"
}

func commandPrefix(deviceID string) string {
	return "devices/" + deviceID + "/messages/devicebound"
}

// A Message is a cloud-to-device message. With a Name it is a durable command of IoT Central, which was
// queued while the device was offline and cannot be answered.
type Message struct {
	ID            string // chosen by the back end; the hub may deliver a message more than once
	CorrelationID string
	Name          string            // of the command, "" for a plain message
	Component     string            // of "component*command"
	Properties    map[string]string // all but the system properties; null is ""; of a name that stands twice, the first
	Body          []byte

	// BadProperties names what could not be read of the properties, nil if nothing: properties that are kept as they stand
	// in the topic because they are not percent-encoded UTF-8, names that stand twice, and a command's name that is not
	// component*command, which then is the Name as a whole.
	BadProperties error
}

// ParseMessage reads a cloud-to-device message for this device. What is wrong with single properties is no error: the
// message is read without it, since to complete a message that was not read is to lose it.
func ParseMessage(deviceID, topic string, body []byte) (Message, error) {
	rest, ok := strings.CutPrefix(topic, commandPrefix(deviceID))
	if !ok || rest != "" && rest[0] != '/' {
		return Message{}, fmt.Errorf("payloads: message: topic %.80q is not of device %.80q", topic, deviceID)
	}
	bag, faults := readBag(strings.TrimPrefix(rest, "/"))
	m := Message{Properties: map[string]string{}, Body: bytes.Clone(body)}
	m.ID, _ = bag.Get("$.mid")
	m.CorrelationID, _ = bag.Get("$.cid")
	for _, p := range bag {
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

// Parameter is a durable command's parameter as JSON, nil when it has none. IoT Central sends "@" for
// no parameter and strings without their quotes. So a string that happens to be JSON, such as 12, cannot
// be told from the JSON. A body that is not UTF-8 is an error: no JSON can hold it.
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
