package machine

import (
	"context"
	"errors"
	"time"

	"giantlizard.example/failover/transport"
)

// errNoSession is the error when a state that needs a session is entered without one: by an event from
// outside, or by a row of the program's own.
var errNoSession = errors.New("machine: there is no session")

// connected attaches the message handlers and works until the session ends or the term of its token ends. It
// always detaches the handlers before it returns.
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
	// A session that ended because an acknowledgement was overdue does not count.
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

// noteRenewal notes, when the term of the token has ended, whether the wall clock ended the term early.
func (l *life) noteRenewal(now time.Time) {
	if now.Before(l.term.end) {
		l.cutShort = now
	}
}
