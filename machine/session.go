package machine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"giantlizard.example/failover/transport"
)

// ackCheck is the interval between two checks for acknowledgements while the Action of an added state works.
const ackCheck = 100 * time.Millisecond

var errRenewalDue = errors.New("machine: the token must be renewed")

// WithSession is for the Action of a state that a program has added. It runs work and meanwhile watches the
// session, as the state Connected does. The context of work ends with ctx, and also when the session ends, an
// acknowledgement is overdue (Delivery.AckTimeout) or the token must be renewed (after 80 to 85 % of
// Timing.TokenLife).
//
// The Action must return the results of WithSession. The event is done if work returned nil; Lost, with the
// cause, if the session ended or an acknowledgement is overdue; Renew if work was interrupted because the
// token must be renewed, which needs a new session; otherwise done, with the error of work. So the state
// needs rows for done, Lost and Renew. work may call Flush.
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
	case errors.Is(err, transport.AckOverdue): // a Flush by work has returned this error
		return Lost, err
	}
	return done, err
}

// watchSession waits until work must end, and returns the reason: the session has ended, an acknowledgement
// is overdue, or term has ended, so the token must be renewed.
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

// takeAcks processes the acknowledgements that have arrived, and returns an error if an acknowledgement is
// overdue. While Flush runs, takeAcks does nothing, because Flush processes acknowledgements itself.
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

// errFlush is the error of a Flush while the device itself uses the hub.
var errFlush = errors.New("machine: flush: only the Action of a state that the program has added may call Flush; " +
	"in its own states the device sends by itself, and Drained waits until it has")

// flush runs Flush of the hub. Its context also ends when the Action of one of the device's own states starts.
func (l *life) flush(ctx context.Context) error {
	select {
	case l.hubUse <- struct{}{}:
	default:
		if l.ownState.Load() {
			return errFlush
		}
		select {
		case l.hubUse <- struct{}{}:
		case <-ctx.Done(): // another Flush still uses the hub
			return fmt.Errorf("machine: flush: %w", ctx.Err())
		}
	}
	defer func() { <-l.hubUse }()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	l.endFlush.Store(&cancel)
	if l.ownState.Load() { // the state waits for hubUse, and may have read endFlush before
		return errFlush
	}
	err := l.hub.Flush(inner)
	if err != nil && inner.Err() != nil && ctx.Err() == nil {
		return errFlush
	}
	return err
}

// usesHub returns the Action of one of the device's own states. While it runs, Flush returns an error, because the
// hub can be used by one goroutine only. A Flush that still runs when the state is entered is ended.
func (l *life) usesHub(do Action) Action {
	return func(ctx context.Context, c Change) (Event, error) {
		l.ownState.Store(true)
		if end := l.endFlush.Load(); end != nil {
			(*end)()
		}
		l.hubUse <- struct{}{}
		defer func() {
			<-l.hubUse
			l.ownState.Store(false)
		}()
		return do(ctx, c)
	}
}
