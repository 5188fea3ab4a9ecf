package machine

import (
	"context"
	"errors"
	"time"

	"giantlizard.example/failover/transport"
)

// errNoSession is the cause if Connected was entered by an event from outside, or by a program's row, without
// a session.
var errNoSession = errors.New("machine: there is no session")

// connected attaches the message handlers and works until the session ends or its token nears its end. Whichever way
// the state is left, the handlers are detached.
func (l *life) connected(ctx context.Context, _ Change) (Event, error) {
	if l.session == nil {
		return Lost, errNoSession
	}
	since := time.Now()
	l.endOutage(since)
	l.suspicion = suspicion{}
	working, stop := l.term.context(ctx, l.clock)
	defer stop()
	l.hub.Attach(l.session, l.assignment().DeviceID)
	defer l.hub.Detach()
	err := l.hub.Work(working)
	l.history.lived = time.Since(since)
	// A session without acknowledgements does not count.
	if l.history.lived >= l.Policy.Hold && !errors.Is(err, transport.AckOverdue) {
		l.history.held()
	}
	switch {
	case ctx.Err() != nil:
		return Stay, nil
	case err == nil:
		l.noteRenewal(time.Now())
		return Renew, nil
	}
	return Lost, err
}

// noteRenewal notes that the term of the token has ended.
func (l *life) noteRenewal(now time.Time) {
	if now.Before(l.term.end) {
		l.cutShort = now
	}
}
