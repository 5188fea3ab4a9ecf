package hub

import (
	"context"
	"errors"
	"time"

	"giantlizard.example/failover/transport"
)

const (
	answerTimeout = 10 * time.Second // for a request and a SUBACK: what travels at QoS 0 may never be answered
	busyTimeout   = time.Minute      // is added while the session is busy
)

// errNoAnswer is the cause of a context of withAnswerTimeout after its deadline.
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

// timedOut returns errNoAnswer in the place of an error that stems from the deadline of
// withAnswerTimeout. A deadline of its caller is another matter.
func timedOut(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		return errNoAnswer
	}
	return err
}
