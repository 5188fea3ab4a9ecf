package emulator

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

// The limits of cloud-to-device messages, from azure-docs iot-hub/iot-hub-devguide-messages-c2d.md.
const (
	maximumQueue   = 50
	maximumMessage = 64 << 10 // size in bytes
	defaultTTL     = time.Hour
	shortestTTL    = time.Minute
	longestTTL     = 48 * time.Hour
)

// plainProperty matches the characters that azure-docs
// iot-hub/iot-hub-devguide-messages-construct.md allows in names and values of the properties of a
// cloud-to-device message. Back ends can send other characters over AMQP, and devices receive them.
var plainProperty = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]*$")

// The reasons why a cloud-to-device message is not queued.
var (
	ErrQueueFull = errors.New("emulator: the device's queue is full")
	ErrNeverSeen = errors.New("emulator: the device has had no session yet, so nothing is queued for it")
)

// A Message is a cloud-to-device message.
type Message struct {
	ID         string // the system property $.mid
	Properties map[string]string
	Body       []byte
	TTL        time.Duration // time until the message expires: one minute to two days; zero means one hour
}

// A queue holds the messages that a device has not completed, in order.
type queue struct {
	pending []*queued
	packet  uint16 // the last packet identifier used
}

// A queued is a message in a queue. The message is in flight if packet is not 0. While it is in
// flight, the timer lock runs.
type queued struct {
	Message
	expires time.Time
	packet  uint16
	sentIn  *session // the session in which it was sent
	lock    *time.Timer
	result  chan<- error // receives nil on completion, or the reason of the removal; may be nil
}

// SendMessage queues a message for a device, which need not be connected.
func (c *Cloud) SendMessage(deviceID string, m Message) error {
	return c.queueMessage(deviceID, m, nil)
}

// queueMessage queues a message. result needs a buffer for one value, or may be nil.
func (c *Cloud) queueMessage(deviceID string, m Message, result chan<- error) error {
	if m.TTL == 0 {
		m.TTL = defaultTTL
	}
	m.Properties = maps.Clone(m.Properties)
	m.Body = slices.Clone(m.Body)
	c.mu.Lock()
	defer c.unlock()
	d, err := c.device(deviceID)
	if err != nil {
		return err
	}
	d.expire()
	switch size := sizeOf(m.Body, m.Properties) + len(m.ID); {
	case size > maximumMessage:
		return fmt.Errorf("emulator: message: %d bytes with its ID and properties, at most %d fit: shorten it",
			size, maximumMessage)
	case m.TTL < shortestTTL || m.TTL > longestTTL:
		return fmt.Errorf("emulator: message: a TTL of %v is not between %v and %v", m.TTL, shortestTTL, longestTTL)
	case !d.hadSession:
		return ErrNeverSeen
	case len(d.queue.pending) >= maximumQueue:
		return fmt.Errorf("%w: %d messages are pending", ErrQueueFull, maximumQueue)
	}
	d.queue.pending = append(d.queue.pending, &queued{Message: m, expires: time.Now().Add(m.TTL), result: result})
	c.emit(KindMessage, "", d.id, "message %q queued", m.ID)
	for name, value := range m.Properties {
		if !plainProperty.MatchString(name + value) {
			c.note("", d.id, "was sent a message with a property that the documents do not allow in "+
				"cloud-to-device messages")
		}
	}
	d.deliver()
	return nil
}

// QueueLength returns the number of messages that a device has not completed and that have not
// expired.
func (c *Cloud) QueueLength(deviceID string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[deviceID]
	if d == nil {
		return 0
	}
	d.expire()
	return len(d.queue.pending)
}

// deliver sends the queued messages that are not in flight in the device's current session. If the
// device sent no PUBACK for a message in an earlier session, deliver sends that message again. If
// the MQTT session continues, the repeated message keeps its packet identifier and has the DUP flag.
func (d *device) deliver() {
	s := d.session()
	if s == nil {
		return
	}
	qos, subscribed := s.filters[messageTopic(d.id)+"#"]
	if !subscribed {
		return
	}
	d.expire()
	for _, m := range slices.Clone(d.queue.pending) {
		if m.packet != 0 && m.sentIn == s {
			continue
		}
		resent := m.packet != 0 && m.sentIn.hub == s.hub && s.conn.sessionPresent
		if !resent {
			m.packet = d.queue.nextPacket()
		}
		d.send(s, m, qos, resent)
	}
}

func (d *device) send(s *session, m *queued, qos byte, resent bool) {
	properties := map[string]string{"$.to": "/devices/" + d.id + "/messages/deviceBound"}
	maps.Copy(properties, m.Properties)
	if m.ID != "" {
		properties["$.mid"] = m.ID
	}
	m.sentIn = s
	p := publication{
		topic: messageTopic(d.id) + propertyBag(properties), payload: m.Body,
		qos: qos, id: m.packet * uint16(qos), resent: resent && qos > 0,
	}
	s.conn.send(p)
	if s.triggered(DuplicateMessage) != nil { // the duplicate has another packet identifier, and its PUBACK is ignored
		d.cloud.emit(KindLizard, s.hub.name, d.id, "message %q is sent twice", m.ID)
		p.id, p.resent = d.queue.nextPacket()*uint16(qos), false
		s.conn.send(p)
	}
	d.cloud.emit(KindMessage, s.hub.name, d.id, "message %q sent", m.ID)
	if qos == 0 { // the device sends no PUBACK at QoS 0
		d.remove(m, nil)
		return
	}
	if m.lock != nil {
		m.lock.Stop()
	}
	m.lock = time.AfterFunc(d.cloud.config.CommandLock, func() { d.requeue(m, s) })
}

// requeue queues a message again at the end of its lock.
func (d *device) requeue(m *queued, in *session) {
	d.cloud.mu.Lock()
	defer d.cloud.unlock()
	if m.sentIn != in || !slices.Contains(d.queue.pending, m) {
		return
	}
	m.packet, m.sentIn = 0, nil
	d.cloud.emit(KindMessage, "", d.id, "message %q was not acknowledged and is queued again", m.ID)
	d.deliver()
}

// complete handles a PUBACK. It ignores the PUBACK of a message that was queued again meanwhile.
func (d *device) complete(s *session, packet uint16) {
	for _, m := range d.queue.pending {
		if m.packet == packet && m.sentIn == s {
			d.remove(m, nil)
			d.cloud.emit(KindMessage, s.hub.name, d.id, "message %q completed", m.ID)
			return
		}
	}
}

// remove removes a message from the queue. err is nil if the device completed it, otherwise the
// reason.
func (d *device) remove(m *queued, err error) {
	if m.lock != nil {
		m.lock.Stop()
	}
	d.queue.pending = slices.DeleteFunc(d.queue.pending, func(other *queued) bool { return other == m })
	if m.result != nil {
		m.result <- err
	}
}

func (d *device) purgeQueue() {
	for _, m := range slices.Clone(d.queue.pending) {
		d.remove(m, ErrPurged)
	}
}

// expire removes expired messages. No timer calls it. Instead it is called before each use of the
// queue.
func (d *device) expire() {
	for _, m := range slices.Clone(d.queue.pending) {
		if !time.Now().Before(m.expires) {
			d.remove(m, ErrExpired)
			d.cloud.emit(KindMessage, "", d.id, "message %q expired", m.ID)
		}
	}
}

// stop stops the timers of the locks.
func (q *queue) stop() {
	for _, m := range q.pending {
		if m.lock != nil {
			m.lock.Stop()
		}
	}
}

// nextPacket returns a packet identifier that no message in flight has.
func (q *queue) nextPacket() uint16 {
	for {
		q.packet++
		taken := slices.ContainsFunc(q.pending, func(m *queued) bool { return m.packet == q.packet })
		if q.packet != 0 && !taken {
			return q.packet
		}
	}
}
