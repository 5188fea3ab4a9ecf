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
	Again   bool // the hub says that it may have delivered it before
	ack     func()
}

// Ack tells the hub that the message is done with (QoS 1). It may be called late and more than once; on a session that
// has ended it does nothing, and the hub delivers the message again.
func (m Message) Ack() { m.ack() }

// An inbox holds messages until a handler is attached: a hub that kept the device's subscriptions may deliver right
// after CONNACK.
type inbox struct {
	mu      sync.Mutex
	ready   *sync.Cond
	waiting []Message
	handler func(Message) bool
	passed  int  // of those waiting, how many this handler would not have
	busy    bool // a handler is running
	closed  bool
}

func newInbox() *inbox {
	b := &inbox{}
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
		ack: func() { s.acknowledge(m) },
	})
	b.ready.Broadcast()
}

// acknowledge runs on the speaking goroutine too, because paho may block in it while a link is dying.
func (s *Session) acknowledge(m mqtt.Message) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	if s.inbox.closed {
		return
	}
	s.work.Go(m.Ack) // counted: the inbox closes before the session waits for its work
}

func (s *Session) listen() { s.inbox.deliver() }

func (b *inbox) attach(handler func(Message) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler, b.passed = handler, 0
	b.ready.Broadcast()
	for b.busy { // the old one
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
