package hub

import (
	"context"
	"time"
)

// busyLimit is how much longer an answer may take on a session that is busy.
const busyLimit = time.Minute

// bounded is ctx with a deadline of answerTimeout. It is put off while the session is busy: on a slow link a large twin
// takes longer to arrive, and so does a request behind large readings.
func bounded(ctx context.Context, s Session) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	last := time.Now().Add(answerTimeout + busyLimit)
	ready := make(chan *time.Timer, 1)
	timer := time.AfterFunc(answerTimeout, func() {
		if !s.Busy() || !time.Now().Before(last) {
			cancel(context.DeadlineExceeded)
			return
		}
		timer := <-ready
		ready <- timer
		timer.Reset(time.Second)
	})
	ready <- timer
	return ctx, func() {
		timer.Stop()
		cancel(nil)
	}
}
