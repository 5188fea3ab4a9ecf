package payloads

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxMessageBytes is the largest device-to-cloud message that IoT Hub takes. MQTT 3.1.1 has no way to refuse a
// message, so the hub ends the connection over a larger one. Source of this, of size and of the message ID:
// azure-docs iot-hub/iot-hub-devguide-messages-construct.md; 256 KB are 262,144 bytes in azure-iot-sdk-python.
const MaxMessageBytes = 262144

const (
	maxMessageID = 128
	maxDeviceID  = 128
	maxTopic     = 65535 // MQTT 3.1.1, 1.5.3: a topic's bytes are counted in 16 bits

	creationTime       = "iothub-creation-time-utc"
	creationTimeLayout = "2006-01-02T15:04:05.000Z" // only Z is allowed, no offset
	contentType        = "application/json"
	contentEncoding    = "utf-8"
)

// A Reading is one telemetry message.
type Reading struct {
	Body       []byte            // UTF-8 JSON, which is delivered byte for byte
	Properties map[string]string // the application's own
	Taken      time.Time         // when it was measured, not when it was sent
	Component  string            // of the model, "" for the root
}

// TooLargeError says that a reading does not fit into one message of IoT Hub.
type TooLargeError struct {
	Size, Max int // bytes, as IoT Hub counts them
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("payloads: reading: %d bytes as IoT Hub counts them, at most %d fit: "+
		"send it in parts", e.Size, e.Max)
}

// Topic is the topic to publish the reading on. Its properties stand in a fixed order, so the same
// reading always gives the same bytes.
func (r Reading) Topic(deviceID, messageID string) string {
	b := make(Bag, 0, 8)
	b = append(b,
		Property{Name: "$.mid", Value: messageID},
		Property{Name: "$.ct", Value: contentType},
		Property{Name: "$.ce", Value: contentEncoding})
	if r.Component != "" {
		b = append(b, Property{Name: "$.sub", Value: r.Component})
	}
	b = append(b, Property{Name: creationTime, Value: r.Taken.UTC().Format(creationTimeLayout)})
	for _, name := range r.PropertyNames() {
		b = append(b, Property{Name: name, Value: r.Properties[name]})
	}
	topic := make([]byte, 0, 256)
	topic = append(topic, "devices/"...)
	topic = append(topic, deviceID...)
	topic = append(topic, "/messages/events/"...)
	return string(b.appendTo(topic))
}

// PropertyNames are the properties' names, in order.
func (r Reading) PropertyNames() []string {
	if len(r.Properties) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(r.Properties))
}

// Check says whether IoT Hub will take the reading, whatever message ID it is sent under. A reading that
// fails must not be sent: the hub would end the connection, now and at every repetition.
func (r Reading) Check() error {
	if !utf8.Valid(r.Body) || !json.Valid(r.Body) {
		return errors.New("payloads: reading: the body is not UTF-8 JSON")
	}
	if year := r.Taken.UTC().Year(); year < 1 || year > 9999 {
		return fmt.Errorf("payloads: reading: taken in the year %d, which RFC 3339 cannot say", year)
	}
	if err := checkText(r.Component); err != nil {
		return fmt.Errorf("payloads: reading: component %.80q: %w", r.Component, err)
	}
	for _, name := range r.PropertyNames() {
		if err := checkProperty(name, r.Properties[name]); err != nil {
			return fmt.Errorf("payloads: reading: property %.80q: %w", name, err)
		}
	}
	if size := r.size(); size > MaxMessageBytes {
		return &TooLargeError{Size: size, Max: MaxMessageBytes}
	}
	if 6*(r.size()-len(r.Body)) < maxTopic { // encoded, a byte takes three at most, and a property two more
		return nil
	}
	// The longest device ID, and the message ID that grows most when encoded.
	longest := r.Topic(strings.Repeat("d", maxDeviceID), strings.Repeat("%", maxMessageID))
	if len(longest) > maxTopic {
		return fmt.Errorf("payloads: reading: the properties make a topic of up to %d bytes, "+
			"at most %d fit: put them into the body", len(longest), maxTopic)
	}
	return nil
}

// size counts as IoT Hub does: the body, the values of system properties, and names and values of
// application properties. The creation time is one of the latter. A device's own message IDs are far shorter than the
// longest, which leaves room for the properties by which it marks a reading.
func (r Reading) size() int {
	n := len(r.Body) + maxMessageID + len(contentType) + len(contentEncoding) + len(r.Component) +
		len(creationTime) + len(creationTimeLayout)
	for name, value := range r.Properties {
		n += len(name) + len(value)
	}
	return n
}

// stamped are the properties that IoT Hub puts on each message itself and lets nobody set, by the tables of
// azure-docs iot-hub/iot-hub-devguide-messages-construct.md. Other names that begin with "iothub-" are the
// application's.
var stamped = []string{
	"iothub-enqueuedtime", "iothub-connection-device-id", "iothub-connection-module-id",
	"iothub-connection-auth-generation-id", "iothub-connection-auth-method",
}

// checkProperty allows what MQTT lets a device send: azure-docs limit names and values to some of ASCII over
// HTTPS only. A name that begins with "$." cannot be the application's: iot/iot-mqtt-connect-to-iot-hub.md
// makes it a system property.
func checkProperty(name, value string) error {
	lower := strings.ToLower(name)
	switch {
	case name == "":
		return errors.New("the name is empty")
	case lower == creationTime:
		return errors.New("the name is taken: set Taken instead")
	case strings.HasPrefix(lower, "$."):
		return errors.New(`a name that starts with "$." is a system property of IoT Hub's`)
	case slices.Contains(stamped, lower):
		return errors.New("IoT Hub sets this property itself")
	}
	if err := checkText(name); err != nil {
		return fmt.Errorf("the name: %w", err)
	}
	return checkText(value)
}

// checkText wants what a property bag can carry: percent-encoded UTF-8. No document says that a hub takes NUL.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("not UTF-8")
	}
	if strings.ContainsRune(s, 0) {
		return errors.New("NUL cannot be part of a property")
	}
	return nil
}
