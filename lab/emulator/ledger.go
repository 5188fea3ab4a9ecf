package emulator

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
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
	Sequence    int64 // number of the message in the ledger; the first message has 1
	Device, Hub string
	Model       string // the model ID that the device sent last, to DPS or to a hub; "" means none
	MessageID   string // the system property $.mid
	Body        []byte
	Properties  map[string]string // decoded properties; system properties have short names, such as "$.ct"
	Topic       string
	Received    time.Time
	Duplicate   bool // the ledger holds an earlier message of this device with this ID
}

// deliveryOverhead is about the memory in bytes that a Delivery takes besides its texts.
const deliveryOverhead = 512

// size returns about the memory in bytes that a message takes.
func (d Delivery) size() int64 {
	n := deliveryOverhead + len(d.Body) + len(d.Topic)
	for name, value := range d.Properties {
		n += len(name) + len(value)
	}
	return int64(n)
}

// A ledger holds stored telemetry: all of it, or the newest messages up to a limit. Only a running hub
// that the device is assigned to adds to it.
type ledger struct {
	run        string     // random text that differs at each start of a cloud
	limit      int64      // largest sum of the messages' sizes; zero means no limit
	size       int64      // sum of the messages' sizes
	last       int64      // sequence number of the newest message
	deliveries []Delivery // messages that are kept, oldest first
	// newest holds sequence numbers of kept messages by device ID and message ID.
	newest map[[2]string]int64
}

func newLedger(limit int64) ledger {
	return ledger{run: strings.ToLower(rand.Text()[:8]), limit: limit, newest: map[[2]string]int64{}}
}

func (l *ledger) add(d Delivery) {
	l.last++
	d.Sequence = l.last
	if d.MessageID != "" {
		key := [2]string{d.Device, d.MessageID}
		_, d.Duplicate = l.newest[key]
		l.newest[key] = d.Sequence
	}
	l.size += d.size()
	l.deliveries = append(l.deliveries, d)
	for l.limit > 0 && l.size > l.limit && len(l.deliveries) > 1 {
		l.removeOldest()
	}
}

// removeOldest removes a message without a change of the array, which callers of Ledger may read. The
// next append that needs a larger array frees the memory.
func (l *ledger) removeOldest() {
	d := l.deliveries[0]
	l.deliveries = l.deliveries[1:]
	l.size -= d.size()
	if key := [2]string{d.Device, d.MessageID}; l.newest[key] == d.Sequence {
		delete(l.newest, key)
	}
}

// after returns a copy of at most count kept messages behind a sequence number, and how many messages
// before them are no longer kept.
func (l *ledger) after(sequence int64, count int) (deliveries []Delivery, missed int64) {
	oldest := l.last - int64(len(l.deliveries)) + 1
	missed = max(0, oldest-sequence-1)
	skipped := min(max(0, sequence-oldest+1), int64(len(l.deliveries)))
	kept := l.deliveries[skipped:]
	return slices.Clone(kept[:min(count, len(kept))]), missed
}

// Ledger returns the stored telemetry in the order of arrival. The slice is not a copy and must not be
// changed. If Config.LedgerLimit is set, the oldest messages may be missing.
func (c *Cloud) Ledger() []Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.ledger.deliveries)
	return c.ledger.deliveries[:n:n]
}

// LedgerAfter returns the stored telemetry behind a sequence number in the order of arrival, at most
// count messages, and the number of messages between them and the sequence number that the ledger no
// longer keeps. Zero is the sequence number before the first message.
func (c *Cloud) LedgerAfter(sequence int64, count int) (deliveries []Delivery, missed int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ledger.after(sequence, count)
}

// LastSequence returns the sequence number of the newest stored message, or zero.
func (c *Cloud) LastSequence() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ledger.last
}

// RunID returns a text that differs at each start of a cloud: eight lower-case letters and digits. A
// sequence number is valid only together with it, because each start begins an empty ledger.
func (c *Cloud) RunID() string { return c.ledger.run }

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
	d.Device, d.Model, d.Hub, d.Received = s.device.id, s.device.model, s.hub.name, time.Now()
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
