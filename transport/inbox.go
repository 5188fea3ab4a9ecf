package transport

import (
	"slices"
	"sync"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// inboxLimit bounds what is held while no handler wants it. IoT Hub holds at most 50 cloud-to-device
// messages for a device. A message above the limit is not acknowledged, so that the hub delivers it
// again.
const inboxLimit = 1024

// A Message came from the hub.
type Message struct {
	Topic     string
	Payload   []byte
	Duplicate bool   // the hub says that it may have delivered the message before
	SendAck   func() // what Ack calls; nil means that there is nothing to acknowledge
}

// Ack sends the PUBACK of a message of QoS 1. It may be called late and more than once. In a session
// that has ended it does nothing, and the hub delivers the message again.
func (m Message) Ack() {
	if m.SendAck != nil {
		m.SendAck()
	}
}

// An inbox holds messages until a handler takes them: a hub that has kept the device's subscriptions
// may deliver right after CONNACK.
type inbox struct {
	mu      sync.Mutex
	changed *sync.Cond
	held    []Message
	handler func(Message) bool
	next    int  // the index in held of the next message for the handler
	running bool // a handler is running
	runs    int  // how many runs of a handler have returned
	closed  bool

	acks    []mqtt.Message // to acknowledge, in order
	hasAcks chan struct{}  // has a value when acks may have some
}

func newInbox() *inbox {
	b := &inbox{hasAcks: make(chan struct{}, 1)}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// Attach sets the handler of messages. It is called with all messages that are held and all that
// follow, one at a time and in order. A message for which it returns false is held for the next
// handler. The handler must not block, and must not call Attach or Detach. Attach returns when a run of
// the handler before has returned.
func (s *Session) Attach(handler func(Message) bool) { s.inbox.attach(handler) }

// Detach removes the handler and returns when it is not running any more. Messages that come later are
// held.
func (s *Session) Detach() { s.inbox.attach(nil) }

// add holds a message. It runs on a goroutine of paho, which nothing may block.
func (b *inbox) add(m mqtt.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.held) >= inboxLimit {
		return
	}
	b.held = append(b.held, Message{
		Topic: m.Topic(), Payload: m.Payload(), Duplicate: m.Duplicate(),
		SendAck: func() { b.queueAck(m) },
	})
	b.changed.Broadcast()
}

// queueAck queues an acknowledgement: paho may block on it, and a handler must not.
func (b *inbox) queueAck(m mqtt.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.acks = append(b.acks, m)
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
	for runs := b.runs; b.running && b.runs == runs; { // a run of the handler before
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
		b.next++ // before the run, during which another handler may be attached, and starts with the first message
		b.running = true
		b.mu.Unlock()
		taken := handle(m)
		b.mu.Lock()
		b.running = false
		b.runs++
		if taken {
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
