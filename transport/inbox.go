package transport

import (
	"slices"
	"sync"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// inboxLimit bounds what a hub may send before anyone listens. IoT Hub holds at most 50 cloud-to-device messages for a
// device. What comes above the limit is left unacknowledged, so that the hub delivers it again.
const inboxLimit = 1024

// A Message came from the hub.
type Message struct {
	Topic   string
	Payload []byte
	Again   bool   // the hub says that it may have delivered it before
	SendAck func() // what Ack calls; nil means that there is nothing to acknowledge
}

// Ack tells the hub that the message is done with (QoS 1). It may be called late and more than once; on a session that
// has ended it does nothing, and the hub delivers the message again.
func (m Message) Ack() {
	if m.SendAck != nil {
		m.SendAck()
	}
}

// An inbox holds messages until a handler is attached: a hub that kept the device's subscriptions may deliver right
// after CONNACK.
type inbox struct {
	mu      sync.Mutex
	ready   *sync.Cond
	waiting []Message
	handler func(Message) bool
	passed  int  // of those waiting, how many this handler would not have
	busy    bool // a handler is running
	turns   int  // how many have run
	closed  bool

	acks  []mqtt.Message // for speak, in order
	toAck chan struct{}  // has a value when there are some
}

func newInbox() *inbox {
	b := &inbox{toAck: make(chan struct{}, 1)}
	b.ready = sync.NewCond(&b.mu)
	return b
}

// Attach gives the session its handler, which gets what has been held and all that follows, one at a time and in order.
// What it returns false for goes on being held, for the next handler. The handler must not block, nor call Attach or
// Detach: what takes time belongs on a goroutine of its own.
func (s *Session) Attach(handler func(Message) bool) { s.inbox.attach(handler) }

// Detach takes the handler away and returns when it has returned. What comes from now on is held.
func (s *Session) Detach() { s.inbox.attach(nil) }

// receive runs on paho's goroutine, which must never be held up.
func (s *Session) receive(m mqtt.Message) {
	b := s.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) >= inboxLimit {
		return
	}
	b.waiting = append(b.waiting, Message{
		Topic: m.Topic(), Payload: m.Payload(), Again: m.Duplicate(),
		SendAck: func() { b.later(m) },
	})
	b.ready.Broadcast()
}

// later queues an acknowledgement, which paho may hold up and a handler must not wait for.
func (b *inbox) later(m mqtt.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.acks = append(b.acks, m)
	select {
	case b.toAck <- struct{}{}:
	default:
	}
}

// acknowledge sends what is queued, in order, as MQTT demands. It runs on speak's goroutine.
func (b *inbox) acknowledge() {
	b.mu.Lock()
	acks := b.acks
	b.acks = nil
	b.mu.Unlock()
	for _, m := range acks {
		m.Ack()
	}
}

func (s *Session) listen() { s.inbox.deliver() }

func (b *inbox) attach(handler func(Message) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler, b.passed = handler, 0
	b.ready.Broadcast()
	for turn := b.turns; b.busy && b.turns == turn; { // the old one
		b.ready.Wait()
	}
}

func (b *inbox) deliver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for !b.closed && (b.handler == nil || b.passed == len(b.waiting)) {
			b.ready.Wait()
		}
		if b.closed {
			return
		}
		i, handle := b.passed, b.handler
		m := b.waiting[i]
		b.passed++ // while it is handled, another handler may be attached, which starts from the front
		b.busy = true
		b.mu.Unlock()
		taken := handle(m)
		b.mu.Lock()
		b.busy = false
		b.turns++
		if taken {
			b.waiting = slices.Delete(b.waiting, i, i+1)
			b.passed = max(0, b.passed-1)
		}
		b.ready.Broadcast()
	}
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.ready.Broadcast()
}
