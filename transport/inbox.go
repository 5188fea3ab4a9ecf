package transport

import (
	"slices"
	"sync"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// inboxLimit bounds the number of messages held while no handler accepts them. inboxBytes bounds their
// total size, together with that of messages whose acknowledgement waits to be sent. IoT Hub holds at
// most 50 cloud-to-device messages of 64 KB for a device. A message above a limit is not acknowledged,
// so that the hub delivers it again.
const (
	inboxLimit = 1024
	inboxBytes = 8 * largestPacket
)

// A Message is one message that the peer has sent.
type Message struct {
	Topic     string
	Payload   []byte
	Duplicate bool   // the hub says that it may have delivered the message before
	SendAck   func() // function that Ack calls; nil means that there is nothing to acknowledge
}

// Ack sends the PUBACK of a message of QoS 1. It may be called late and more than once. In a session
// that has ended it does nothing, and the hub delivers the message again.
func (m Message) Ack() {
	if m.SendAck != nil {
		m.SendAck()
	}
}

// An inbox holds messages until a handler accepts them: a hub that has kept the device's
// subscriptions may deliver right after CONNACK.
type inbox struct {
	mu      sync.Mutex
	changed *sync.Cond
	held    []Message
	bytes   int // total size of the messages in held and acks
	handler func(Message) bool
	next    int  // the index in held of the next message for the handler
	running bool // a handler is running
	runs    int  // count of handler calls that have returned
	closed  bool

	acks    []mqtt.Message // messages to acknowledge, in order
	hasAcks chan struct{}  // has a value when acks may not be empty
}

func newInbox() *inbox {
	b := &inbox{hasAcks: make(chan struct{}, 1)}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// Attach sets the handler of messages. The handler is called with all messages that are held and
// all that follow, one at a time and in order. A message for which the handler returns false is
// held for the next handler. The handler must not block, and must not call Attach or Detach. Attach
// waits until a running call of the previous handler has returned.
func (s *Session) Attach(handler func(Message) bool) { s.inbox.attach(handler) }

// Detach removes the handler and returns when the handler is not running any more. Messages that
// come later are held.
func (s *Session) Detach() { s.inbox.attach(nil) }

// add holds a message. It runs on a goroutine of paho, which nothing may block.
func (b *inbox) add(m mqtt.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.held) >= inboxLimit || b.bytes+sizeOf(m) > inboxBytes {
		return
	}
	b.bytes += sizeOf(m)
	b.held = append(b.held, Message{
		Topic: m.Topic(), Payload: m.Payload(), Duplicate: m.Duplicate(),
		SendAck: func() { b.queueAck(m) },
	})
	b.changed.Broadcast()
}

func sizeOf(m mqtt.Message) int { return len(m.Topic()) + len(m.Payload()) }

// queueAck queues an acknowledgement instead of sending it: paho may block, and a handler must not.
func (b *inbox) queueAck(m mqtt.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.acks = append(b.acks, m)
	b.bytes += sizeOf(m)
	select {
	case b.hasAcks <- struct{}{}:
	default:
	}
}

// sendAcks sends the queued acknowledgements in order, as MQTT demands. Only runCalls calls it.
func (b *inbox) sendAcks() {
	b.mu.Lock()
	acks := b.acks
	b.acks = nil
	for _, m := range acks {
		b.bytes -= sizeOf(m)
	}
	b.mu.Unlock()
	for _, m := range acks {
		m.Ack()
	}
}

func (b *inbox) attach(handler func(Message) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler, b.next = handler, 0
	b.changed.Broadcast()
	for runs := b.runs; b.running && b.runs == runs; { // a call of the previous handler is still running
		b.changed.Wait()
	}
}

// deliver calls the handler with all messages until the session ends.
func (b *inbox) deliver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for !b.closed && (b.handler == nil || b.next == len(b.held)) {
			b.changed.Wait()
		}
		if b.closed {
			return
		}
		i, handle := b.next, b.handler
		m := b.held[i]
		b.next++ // before the call, during which attach may set next to 0 for another handler
		b.running = true
		b.mu.Unlock()
		taken := handle(m)
		b.mu.Lock()
		b.running = false
		b.runs++
		if taken {
			b.bytes -= len(m.Topic) + len(m.Payload)
			b.held = slices.Delete(b.held, i, i+1)
			b.next = max(0, b.next-1)
		}
		b.changed.Broadcast()
	}
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.changed.Broadcast()
}
