package machine

import (
	"context"
	"fmt"
	"time"
)

// closing sends what it still can and ends. It does not connect for that.
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
		if s.Cause() != nil { // what was acknowledged just before it ended is not lost
			select {
			case <-s.Done():
			case <-ctx.Done():
			}
		}
	}
	l.dropSession()
	return Stay, l.hub.Close(ctx)
}

// A LostError says that the device ended with readings that no hub has acknowledged.
type LostError struct {
	Left    int // in an outbox that does not outlive the process
	Dropped int // while it ran: by the limits of the outbox, by a disk that could not be written, or into the quarantine
}

func (e *LostError) Error() string {
	return fmt.Sprintf("machine: readings were lost: %d were not delivered before the end, %d were given up before", e.Left, e.Dropped)
}
