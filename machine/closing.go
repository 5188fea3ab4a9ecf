package machine

import (
	"context"
	"fmt"
	"time"
)

// closing sends what it can over the session that there is, and ends.
func (l *life) closing(ctx context.Context, _ Change) (Event, error) {
	l.closeBy = time.Now().Add(l.Timing.CloseTimeout)
	ctx, cancel := context.WithDeadline(ctx, l.closeBy)
	defer cancel()
	l.state.outbox.Seal()
	if s := l.session; s != nil {
		if s.Cause() == nil {
			if err := l.hub.Flush(ctx); err != nil {
				l.warn("not everything could be sent before the end", err)
			}
		}
		if s.Cause() != nil { // until it is done, acknowledgements that came before its end may still be processed
			select {
			case <-s.Done():
			case <-ctx.Done():
			}
		}
	}
	l.dropSession()
	return Stay, l.hub.Close(ctx)
}

// A LostError says how many accepted readings no hub has acknowledged, and no later run will send.
type LostError struct {
	Left    int // in an outbox that ends with the process
	Dropped int // during the run: by the outbox's limits, by a disk that could not be written, or by quarantine
}

func (e *LostError) Error() string {
	return fmt.Sprintf("machine: readings were lost: %d were not delivered before the end, %d were dropped before",
		e.Left, e.Dropped)
}
