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

// MaxMessageBytes is the size of the largest device-to-cloud message that IoT Hub accepts. MQTT
// 3.1.1 cannot refuse a message, so the hub ends the session over a larger one. Source of this
// limit, of how a size is counted, and of the message ID: azure-docs
// iot-hub/iot-hub-devguide-messages-construct.md; 256 KB are 262,144 bytes in azure-iot-sdk-python.
const MaxMessageBytes = 262144

// MaxMessageID is the length of the longest message ID, in characters of ASCII.
const MaxMessageID = 128

const (
	maxTopic = 65535 // bytes; MQTT 3.1.1, 1.5.3: a length has 16 bits

	creationTime       = "iothub-creation-time-utc"
	creationTimeLayout = "2006-01-02T15:04:05.000Z" // IoT Hub allows only Z, no offset
	contentType        = "application/json"
	contentEncoding    = "utf-8"
)

// The properties that the device adds to readings. The rooms hub and outbox say what they mean.
const (
	BacklogProperty  = "failover-lane"
	ClockProperty    = "clock"
	MissingProperty  = "failover-missing"
	PreviousProperty = "failover-before"
	RequeuedProperty = "failover-requeued"

	Backlog    = "backlog"   // the value of BacklogProperty
	Estimated  = "estimated" // the value of ClockProperty
	MaxMissing = 250         // most bytes of the value of MissingProperty
)

// longestAdded holds the length of the longest value of each property that the device adds.
var longestAdded = map[string]int{
	BacklogProperty: len(Backlog), ClockProperty: len(Estimated), MissingProperty: MaxMissing,
	PreviousProperty: MaxMessageID, RequeuedProperty: MaxMessageID,
}

// maxAdded is the size of all properties that the device adds, as IoT Hub counts them.
var maxAdded = func() (bytes int) {
	for name, length := range longestAdded {
		bytes += len(name) + length
	}
	return bytes
}()

// A Reading is one telemetry message.
type Reading struct {
	Body       []byte            // UTF-8 JSON, which is delivered byte for byte
	Properties map[string]string // properties that the application sets
	Taken      time.Time         // time of the measurement
	Component  string            // component of the model; "" means the root
}

// A TooLargeError reports that a reading does not fit into one message of IoT Hub.
type TooLargeError struct {
	Size, Max int // bytes, as IoT Hub counts them
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("payloads: reading: %d bytes as IoT Hub counts them, at most %d fit: send it in parts", e.Size,
		e.Max)
}

// Topic returns the topic on which to publish the reading. The properties have a fixed order, so
// that the topic of a reading is always the same. Sources: azure-docs
// iot/iot-mqtt-connect-to-iot-hub.md, and for $.sub iot-develop/concepts-convention.md.
func (r Reading) Topic(deviceID, messageID string) string {
	b := append(make(bag, 0, 8),
		bagProperty{Name: "$.mid", Value: messageID},
		bagProperty{Name: "$.ct", Value: contentType},
		bagProperty{Name: "$.ce", Value: contentEncoding})
	if r.Component != "" {
		b = append(b, bagProperty{Name: "$.sub", Value: r.Component})
	}
	b = append(b, bagProperty{Name: creationTime, Value: r.Taken.UTC().Format(creationTimeLayout)})
	for _, name := range r.PropertyNames() {
		b = append(b, bagProperty{Name: name, Value: r.Properties[name]})
	}
	return string(b.appendTo(append(make([]byte, 0, 256), "devices/"+deviceID+"/messages/events/"...)))
}

// PropertyNames returns the names of the properties in order.
func (r Reading) PropertyNames() []string {
	if len(r.Properties) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(r.Properties))
}

// Check returns an error if IoT Hub would refuse the reading, whatever its message ID is and whatever
// properties the device adds; a *TooLargeError if the reading is too large. Such a reading must not be
// sent, because the hub would end every session in which it is sent.
func (r Reading) Check() error {
	if !utf8.Valid(r.Body) || !json.Valid(r.Body) {
		return errors.New("payloads: reading: the body is not UTF-8 JSON")
	}
	if year := r.Taken.UTC().Year(); year < 1 || year > 9999 {
		return fmt.Errorf("payloads: reading: taken in the year %d, which RFC 3339 cannot express", year)
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
	if 6*(r.size()-len(r.Body)) < maxTopic { // encoding makes at most three bytes of one, and each property adds two
		return nil
	}
	// The longest device ID, and a message ID and values that encoding makes as long as possible.
	all := Reading{Taken: r.Taken, Component: r.Component, Properties: map[string]string{}}
	maps.Copy(all.Properties, r.Properties)
	for name, length := range longestAdded {
		all.Properties[name] = strings.Repeat("%", length)
	}
	longest := all.Topic(strings.Repeat("d", maxDeviceID), strings.Repeat("%", MaxMessageID))
	if len(longest) > maxTopic {
		return fmt.Errorf("payloads: reading: the properties make a topic of up to %d bytes, at most %d fit: "+
			"put them into the body", len(longest), maxTopic)
	}
	return nil
}

// size returns the most bytes that IoT Hub may count: the body, the values of system properties, and
// the names and values of application properties, among which are the creation time and the
// properties that the device adds.
func (r Reading) size() int {
	n := len(r.Body) + MaxMessageID + len(contentType) + len(contentEncoding) + len(r.Component) +
		len(creationTime) + len(creationTimeLayout) + maxAdded
	for name, value := range r.Properties {
		n += len(name) + len(value)
	}
	return n
}

// setByHub lists the properties that only IoT Hub sets. Other names that begin with "iothub-" are
// free for applications. Source: the tables of azure-docs
// iot-hub/iot-hub-devguide-messages-construct.md.
var setByHub = []string{
	"iothub-enqueuedtime", "iothub-connection-device-id", "iothub-connection-module-id",
	"iothub-connection-auth-generation-id", "iothub-connection-auth-method",
}

// checkProperty returns an error if an application cannot set a property over MQTT. azure-docs
// limits names and values to a part of ASCII only for HTTPS. A name that begins with "$." is a
// system property: iot/iot-mqtt-connect-to-iot-hub.md.
func checkProperty(name, value string) error {
	lower := strings.ToLower(name)
	switch {
	case name == "":
		return errors.New("the name is empty")
	case lower == creationTime:
		return errors.New("the name is reserved: set Taken instead")
	case strings.HasPrefix(lower, "$."):
		return errors.New(`a name that starts with "$." is a system property of IoT Hub`)
	case slices.Contains(setByHub, lower):
		return errors.New("IoT Hub sets this property itself")
	}
	if err := checkText(name); err != nil {
		return fmt.Errorf("the name: %w", err)
	}
	return checkText(value)
}

// checkText returns an error if a property bag cannot hold a text. No document says that a hub
// accepts NUL.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("not UTF-8")
	}
	if strings.ContainsRune(s, 0) {
		return errors.New("NUL cannot be part of a property")
	}
	return nil
}
