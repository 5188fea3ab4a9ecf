package machine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// closing sends pending readings and reported properties over the open session, if there is one, until the
// deadline, and then closes the session and the hub. Its error names the functions of the program that have
// not returned.
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
		if s.Cause() != nil { // acknowledgements from before its end may be processed until s is done
			select {
			case <-s.Done():
			case <-ctx.Done():
			}
		}
	}
	if l.hub.HasAcknowledged() {
		l.endOutage() // the session may have been too short for awaitProgress
	}
	l.dropSession()
	return Stay, errors.Join(l.hub.Close(ctx), l.calls.await(ctx))
}

// A LostError counts the accepted readings that no hub has acknowledged and that no later run will send.
type LostError struct {
	Left    int // readings still pending in an outbox that ends with the process
	Dropped int // readings dropped since New was called, for any of the reasons NoRoom to Quarantined
}

func (e *LostError) Error() string {
	return fmt.Sprintf("machine: readings were lost: %d were not delivered before the end, %d were dropped before",
		e.Left, e.Dropped)
}
