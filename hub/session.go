package hub

import (
	"context"
	"errors"
	"time"

	"giantlizard.example/failover/transport"
)

// A Session has the methods of *transport.Session that a Hub uses. They are documented there.
type Session interface {
	Host() string
	SessionPresent() bool // reports whether the hub kept a session of this device

	Publish(ctx context.Context, topic string, qos byte, payload []byte, done func(error)) error
	Subscribe(ctx context.Context, qos byte, filters ...string) error
	Unsubscribe(ctx context.Context, filters ...string) error

	// Attach gives the session the handler of what the hub sends. Detach removes the handler and waits
	// until it has returned.
	Attach(handler func(transport.Message) bool)
	Detach()

	Busy() bool             // reports whether an answer may take longer than usual
	Ended() <-chan struct{} // returns a channel that is closed when the session has ended
	Cause() error           // returns why the session ended; nil until it has ended
}

var _ Session = (*transport.Session)(nil)

const (
	answerTimeout = 10 * time.Second // limit for the answer to a request or SUBSCRIBE: at QoS 0 it may never come
	busyTimeout   = time.Minute      // longest extension of answerTimeout while the session is busy
)

// errNoAnswer is the cause of a context that the timeout of withAnswerTimeout has ended. A deadline
// of the caller's context has its own cause.
var errNoAnswer = &transport.Error{Reason: transport.TimedOut, Host: "hub", Err: errors.New("no answer in time")}

// withAnswerTimeout returns ctx with a deadline of answerTimeout. The deadline is put off while the
// session is busy: on a slow link a large twin takes longer to arrive, and so does a request that
// is sent behind large readings.
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
