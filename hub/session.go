package hub

import (
	"context"

	"giantlizard.example/failover/transport"
)

// A Session is what a Hub needs of a *transport.Session, whose documentation also holds for these
// methods.
type Session interface {
	Host() string
	SessionPresent() bool // reports whether the hub kept a session of this device

	Publish(ctx context.Context, topic string, qos byte, payload []byte, done func(error)) error
	Subscribe(ctx context.Context, qos byte, filters ...string) error
	Unsubscribe(ctx context.Context, filters ...string) error

	// Attach gives the session the handler of what the hub sends. Detach takes it away and waits
	// until it has returned.
	Attach(handler func(transport.Message) bool)
	Detach()

	Busy() bool             // reports whether an answer may take longer than usual
	Ended() <-chan struct{} // is closed when the session has ended
	Cause() error           // is nil until then
}

var _ Session = (*transport.Session)(nil)
