package emulator

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// The limits of telemetry, and how sizeOf counts: azure-docs
// iot-hub/iot-hub-devguide-messages-construct.md.
const (
	maximumTelemetry = 256 << 10 // size in bytes
	maximumMessageID = 128       // length in characters; the documents do not say what a hub does with a longer ID
)

// messageID matches a message ID of the characters that the same document allows. The document does
// not say that a hub refuses other characters.
var messageID = regexp.MustCompile(`^[A-Za-z0-9:.+%_#*?!(),=@;$'-]*$`)

// A Delivery is one telemetry message that a hub has stored. It must not be changed.
type Delivery struct {
	Device, Hub string
	MessageID   string // the system property $.mid
	Body        []byte
	Properties  map[string]string // decoded properties; system properties have short names, such as "$.ct"
	Topic       string
	Received    time.Time
	Duplicate   bool // a hub has stored a message of this device with this ID before
}

// A ledger holds all stored telemetry. Only a running hub that the device is assigned to adds to it.
type ledger struct {
	deliveries []Delivery
	seen       map[[2]string]bool // stored messages, by device ID and message ID
}

func newLedger() ledger { return ledger{seen: map[[2]string]bool{}} }

func (l *ledger) add(d Delivery) {
	if d.MessageID != "" {
		key := [2]string{d.Device, d.MessageID}
		d.Duplicate = l.seen[key]
		l.seen[key] = true
	}
	l.deliveries = append(l.deliveries, d)
}

// Ledger returns all stored telemetry in the order of arrival. The slice is not a copy and must
// not be changed. The ledger grows without limit.
func (c *Cloud) Ledger() []Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.ledger.deliveries)
	return c.ledger.deliveries[:n:n]
}

// telemetry stores a message. The PUBACK is sent after it returns.
func (s *session) telemetry(p publication) error {
	d, notes, err := readTelemetry(s.device.id, p)
	if err != nil {
		return s.violation(refusalOf(err), "sent telemetry that %v", err)
	}
	if s.hasPoison(d) {
		s.hub.close(s, "a message with the mark of the fault poison")
		return errEnded
	}
	if !messageID.MatchString(d.MessageID) {
		notes = append(notes, "sent a message ID with a character that the documents do not allow")
	}
	s.note(notes...)
	s.store(d)
	return nil
}

func (s *session) storeWill() {
	if d, _, err := readTelemetry(s.device.id, *s.will); err == nil {
		d.Properties["iothub-MessageType"] = "Will"
		s.store(d)
	}
}

func (s *session) store(d Delivery) {
	d.Device, d.Hub, d.Received = s.device.id, s.hub.name, time.Now()
	c := s.hub.cloud
	c.ledger.add(d)
	c.emit(KindTelemetry, d.Hub, d.Device, "%s", d.MessageID)
}

// readTelemetry checks a message against the rules; its errors continue the sentence "telemetry
// that …". The notes name what the documents do not describe.
func readTelemetry(deviceID string, p publication) (d Delivery, notes []string, err error) {
	text, ok := strings.CutPrefix(p.topic, telemetryTopic(deviceID))
	if !ok {
		return Delivery{}, nil, refuse(refuseTopic, "has the topic %.100q, not %s…", p.topic,
			telemetryTopic(deviceID))
	}
	// Microsoft's SDK for Embedded C writes the "?".
	raw, odd, err := parameters(strings.TrimPrefix(text, "?"))
	if err != nil {
		return Delivery{}, nil, refuse(refusePropertyBag, "has a bad property bag: %v", err)
	}
	for _, what := range odd {
		notes = append(notes, "sent telemetry with a property "+what)
	}
	if p.retain {
		raw["mqtt-retain"] = "true"
	}
	if size := sizeOf(p.payload, raw); size > maximumTelemetry {
		return Delivery{}, nil, refuse(refuseMessageSize, "counts %d bytes; the limit of a hub is %d", size,
			maximumTelemetry)
	}
	if utf8.RuneCountInString(raw["$.mid"]) > maximumMessageID {
		notes = append(notes, fmt.Sprintf("sent a message ID of more than %d characters", maximumMessageID))
	}
	return Delivery{MessageID: raw["$.mid"], Body: p.payload, Properties: raw, Topic: p.topic}, notes, nil
}
