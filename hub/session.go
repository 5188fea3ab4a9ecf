package hub

import (
	"context"
	"errors"
	"time"

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

const (
	answerTimeout = 10 * time.Second // for a request and a SUBACK: what travels at QoS 0 may never be answered
	busyTimeout   = time.Minute      // is added while the session is busy
)

// errNoAnswer is the cause of a context of withAnswerTimeout after its deadline. The deadline of a
// caller has its own cause.
var errNoAnswer = &transport.Error{Reason: transport.TimedOut, Host: "hub", Err: errors.New("no answer in time")}

// withAnswerTimeout returns ctx with a deadline of answerTimeout, which is put off while the
// session is busy: on a slow link a large twin takes longer to arrive, and so does a request behind
// large readings.
func withAnswerTimeout(ctx context.Context, s Session) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	last := time.Now().Add(answerTimeout + busyTimeout)
	go func() {
		for wait := answerTimeout; ; wait = time.Second {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
			if !s.Busy() || !time.Now().Before(last) {
				cancel(errNoAnswer)
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
