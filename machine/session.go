package machine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"giantlizard.example/failover/transport"
)

// ackCheck is how often the acknowledgements are looked at while a state of the program's works.
const ackCheck = 100 * time.Millisecond

var errRenewalDue = errors.New("machine: the token must be renewed")

// WithSession is for the Action of a state that a program has added. It runs work and watches over the session
// meanwhile, as Connected does. The context of work ends with ctx, and also when the session ends, an
// acknowledgement is overdue (Delivery.AckTimeout) or the token must be renewed (after 80 to 85 % of
// Timing.TokenLife).
//
// The results are for the Action to return: done if work returned nil; Lost and why if the session ended; Renew if work
// was interrupted for a renewal, which needs a new session; otherwise done with the error of work as its cause. So the
// state needs rows for done, Lost and Renew. work may call Flush.
func (d *Device) WithSession(ctx context.Context, done Event, work func(context.Context) error) (Event, error) {
	l := d.life
	s := l.session
	if s == nil {
		return Lost, errNoSession
	}
	inner, end := context.WithCancelCause(ctx)
	term, stop := l.term.context(inner, l.clock)
	var watch sync.WaitGroup
	watch.Go(func() { end(l.watchSession(term)) })
	err := work(inner)
	cause := context.Cause(inner)
	end(nil)
	stop()
	watch.Wait()
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(cause, errRenewalDue):
		l.noteRenewal(time.Now())
		return Renew, nil
	case s.Cause() != nil:
		return Lost, s.Cause()
	case errors.Is(cause, transport.AckOverdue):
		return Lost, cause
	case errors.Is(err, transport.AckOverdue): // from Flush
		return Lost, err
	}
	return done, err
}

// watchSession returns why work must end: the session has ended, an acknowledgement is overdue, or the token must be
// renewed, which is the case when term ends.
func (l *life) watchSession(term context.Context) error {
	tick := time.NewTicker(ackCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := l.takeAcks(term); errors.Is(err, transport.AckOverdue) {
				return err
			}
		case <-l.session.Ended():
			return l.session.Cause()
		case <-term.Done():
			return errRenewalDue
		}
	}
}

// takeAcks takes the acknowledgements that have come, and returns an error if one is overdue. Flush does so itself.
func (l *life) takeAcks(ctx context.Context) error {
	select {
	case l.hubUse <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-l.hubUse }()
	ctx, cancel := context.WithTimeout(ctx, ackCheck/10)
	defer cancel()
	return l.hub.AwaitAcks(ctx)
}

func (l *life) flush(ctx context.Context) error {
	select {
	case l.hubUse <- struct{}{}:
	case <-ctx.Done(): // another Flush may take longer
		return fmt.Errorf("machine: flush: %w", ctx.Err())
	}
	defer func() { <-l.hubUse }()
	return l.hub.Flush(ctx)
}
