package hub

import (
	"context"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// commands gives each cloud-to-device message to the handler once, and completes the message
// (PUBACK) when the handler has succeeded and the message is remembered. A message that is not
// completed stays in the hub's queue: the hub delivers it again when the message's lock has
// expired, or on the next session.
type commands struct {
	handler   func(context.Context, payloads.Message) error // nil means no handler, or that commands are switched off
	pool      *pool
	completed *completed
	emit      func(observe.Record)
	warn      func(message string, err error)
}

func (c *commands) receive(device string, m transport.Message) {
	message, err := payloads.ParseMessage(device, m.Topic, m.Payload)
	if err != nil {
		c.warn("the hub sent something that cannot be read", err)
		m.Ack() // a second delivery could not be read, either
		return
	}
	if c.handler == nil {
		return
	}
	name := "command " + message.Name
	if message.Name == "" {
		name = "message " + message.ID
	}
	report := func(status int, comment string, err error) {
		r := handled(name, status, err)
		r.ID, r.Message = message.ID, comment
		c.emit(r)
	}
	completeAgain := func(m transport.Message) {
		m.Ack()
		report(observe.AlreadyCompleted, name+" was done before", nil)
	}
	d := digestOf(message.ID, m)
	switch c.completed.begin(d, m) {
	case isCompleted:
		completeAgain(m)
		return
	case isRunning:
		return
	}
	if bad := message.BadProperties; bad != nil {
		c.warn("the hub sent a message of which not every property can be read", bad)
	}
	err = invoke(c.pool, poolLimit, name, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.handler(ctx, message)
	}, func(_ struct{}, err error) { // also called at the timeout; the handler may still succeed later
		if err != nil {
			report(500, "", err)
		}
	}, func(_ struct{}, err error) { // runs on the handler's goroutine, which may wait for a disk
		if err != nil {
			c.completed.end(d)
			return
		}
		c.completed.remember(d)
		m.Ack()
		report(200, "", nil)
		for _, again := range c.completed.end(d) {
			completeAgain(again)
		}
	})
	if err != nil {
		c.completed.end(d)
		c.warn("a cloud-to-device message was left to the hub", err)
	}
}
