package machine

import (
	"context"
	"errors"
	"sync"
	"time"
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
	l.outage.connect(l.assignment().Hub)
	l.suspicion = suspicion{}
	working, stop := l.term.context(ctx, l.clock)
	defer stop()
	l.hub.Attach(l.session, l.assignment().DeviceID)
	defer l.hub.Detach()
	watching, endWatch := context.WithCancel(working)
	var progress sync.WaitGroup
	progress.Go(func() { l.awaitProgress(watching) })
	err := l.hub.Work(working)
	endWatch()
	progress.Wait()
	switch {
	case ctx.Err() != nil:
		return Stay, nil
	case err == nil:
		l.noteRenewal(time.Now())
		return Renew, nil
	}
	return Lost, err
}

// awaitProgress ends the outage when the session has made progress: the hub has acknowledged a reading, or the
// session has lasted for Policy.Hold and no reading was pending then.
func (l *life) awaitProgress(ctx context.Context) {
	hold := time.NewTimer(l.Policy.Hold)
	defer hold.Stop()
	for {
		select {
		case <-l.hub.Acknowledged():
			l.endOutage()
			return
		case <-hold.C:
			if pending, _ := l.state.outbox.Pending(); pending == 0 {
				l.endOutage()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// noteRenewal notes, when the term of the token has ended, whether the wall clock ended the term early.
func (l *life) noteRenewal(now time.Time) {
	if now.Before(l.term.end) {
		l.cutShort = now
	}
}
