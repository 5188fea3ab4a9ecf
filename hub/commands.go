package hub

import (
	"context"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// command gives a cloud-to-device message to its handler, once, and completes it (PUBACK) when that has succeeded and the
// message is remembered. Otherwise the hub delivers it again when its lock has run out, or on the next session. It stays
// with the hub, not with us, while the pool is full or nobody handles commands.
func (h *Hub) command(m transport.Message) bool {
	message, err := payloads.ParseMessage(h.device, m.Topic, m.Payload)
	if err != nil {
		h.warn("the hub sent something that cannot be read", err)
		m.Ack() // it will not be readable next time
		return true
	}
	if h.Handlers.Command == nil {
		return true
	}
	c := command{hub: h, message: message, digest: digestOf(message.ID, m), first: m}
	switch h.completed.begin(c.digest, m) {
	case done:
		c.completeAgain(m)
	case fresh:
		if bad := message.BadProperties; bad != nil {
			h.warn("the hub sent a message of which not every property can be read", bad)
		}
		if err := invoke(h.pool, poolLimit, c.name(), c.handle, c.failed, c.returned); err != nil {
			h.completed.end(c.digest)
			h.warn("a cloud-to-device message was left to the hub", err)
		}
	}
	return true
}

// A command is a cloud-to-device message on its way through its handler.
type command struct {
	hub     *Hub
	message payloads.Message
	digest  digest
	first   transport.Message // the delivery that started the handler
}

func (c command) name() string {
	if c.message.Name == "" {
		return "message " + c.message.ID
	}
	return "command " + c.message.Name
}

func (c command) handle(ctx context.Context) (struct{}, error) {
	return struct{}{}, c.hub.Handlers.Command(ctx, c.message)
}

// failed tells of a handler that failed, or has not returned in time; that one may still succeed.
func (c command) failed(_ struct{}, err error) {
	if err != nil {
		c.tell(observe.Record{Level: observe.Warn, Status: 500, Error: err.Error()})
	}
}

// returned completes the message, and what has been delivered of it since, if its handler has succeeded. It runs on the
// handler's goroutine, which may wait for a disk.
func (c command) returned(_ struct{}, err error) {
	if err != nil {
		c.hub.completed.end(c.digest)
		return
	}
	if err := c.hub.completed.remember(c.digest); err != nil {
		c.hub.warn("", err)
	}
	c.first.Ack()
	c.tell(observe.Record{Level: observe.Info, Status: 200})
	for _, m := range c.hub.completed.end(c.digest) {
		c.completeAgain(m)
	}
}

// completeAgain completes a delivery of a message that is done.
func (c command) completeAgain(m transport.Message) {
	m.Ack()
	c.tell(observe.Record{Level: observe.Info, Status: observe.AlreadyCompleted, Message: c.name() + " was done before"})
}

func (c command) tell(r observe.Record) {
	r.Kind, r.Name, r.ID = observe.Handled, c.name(), c.message.ID
	c.hub.Emit(r)
}
