package machine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/policy"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// A life has the Actions of the six states and the data that they share. Device is the API for programs, and
// calls life.
type life struct {
	Settings
	*recorder
	machine  *Machine
	hub      *hub.Hub
	state    *stateDir
	clock    *clock
	calls    *calls
	endings  sync.WaitGroup             // sessions that have ended but are not done
	assigned atomic.Pointer[Assignment] // current assignment; nil means that there is none
	plainTCP bool                       // whether the system's network reaches DPS and the hubs
	networks atomic.Int64               // number of times at which the system has had a new address or route

	hubUse   chan struct{}                      // has a value while a state, Flush or WithSession uses the hub
	ownState atomic.Bool                        // whether the Action of one of the device's own states runs
	endFlush atomic.Pointer[context.CancelFunc] // ends the context of the latest Flush

	// The rest belongs to the current state's Action. Only one runs at a time, so there is no mutex.

	// session is the device's only session. Each state, when it is entered, either uses the session or drops it.
	session        *transport.Session
	polls          provisioning.Polls
	term           term      // term of the session's token
	cutShort       time.Time // last time at which the wall clock ended a term before the monotonic clock did
	history        policy.History
	doubted        bool      // whether DPS has refused the device, perhaps because the wall clock is wrong
	accepted       time.Time // time at which the hub accepted the current session
	suspicion      suspicion // evidence against the wall clock
	clockSets      int       // number of steps of the wall clock before the latest attempt began
	freedAt        time.Time // last time, by the steady clock, at which a step of the wall clock ended a back-off
	networksSeen   int64     // value of networks before the latest attempt began
	networkFreedAt time.Time // last time, by the steady clock, at which a returning network ended a back-off
	outage         outage
	entered        time.Time // time at which the current state was entered
	closeBy        time.Time // deadline of the state Closing
}

// newLife makes a life and opens its state directory. Tests pass an outbox as box; nil means the outbox that
// the settings describe.
func newLife(s Settings, box outbox.Outbox) (*life, error) {
	plainTCP, calls := s.Link.Dial == nil, newCalls()
	keys := &keyring{source: s.Identity.Key, calls: calls}
	s.Identity.Key, s.Link = keys.read, calls.wrap(s.Link)
	l := &life{
		Settings: s, recorder: newRecorder(s, keys), calls: calls, plainTCP: plainTCP, entered: time.Now(),
		hubUse: make(chan struct{}, 1),
	}
	l.clock = newClock(s.Link.Now, s.Timing.ClockFloor, l.entered)
	var err error
	if l.state, err = openStateDir(s, l.clock, l.recorder, box); err != nil {
		return nil, err
	}
	l.clock.earlier = l.state.outbox.Last()
	l.clock.put(l.clock.earlier)
	l.hub = hub.New(hub.Settings{
		Handlers: s.Handlers, Off: s.Off, Outbox: l.state.outbox, Delivery: s.Delivery,
		CompletedFile: l.state.file("commands.json"),
		TwinFile:      l.state.file("twin.json"), InMemory: s.Storage.InMemory, SyncEvery: s.Storage.SyncEvery,
		Emit: l.emit, Hide: keys.hide, Date: l.clock.date,
	})
	return l, nil
}

// assignment returns the current assignment, or the zero Assignment if there is none.
func (l *life) assignment() Assignment {
	if a := l.assigned.Load(); a != nil {
		return *a
	}
	return Assignment{}
}

func (l *life) isAssigned() bool { return l.assigned.Load() != nil }

// dropSession ends the session if there is one.
func (l *life) dropSession() {
	s := l.session
	if s == nil {
		return
	}
	l.session = nil
	if s.Cause() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		defer cancel()
		_ = s.Close(ctx)
	}
	l.awaitDone(s)
	l.hub.Release()
}

// awaitDone makes Device.Run wait, before it returns, until a session that has ended is done. A failover does
// not wait for the session.
func (l *life) awaitDone(s *transport.Session) { l.endings.Go(func() { <-s.Done() }) }

// end closes what the device owns, and gives the observers the last records. Its error wraps a *LostError if
// readings were lost or dropped.
func (l *life) end(ctx context.Context) error {
	var err error
	left, closed := l.state.close(l.hub)
	if lost := (LostError{Left: left, Dropped: int(l.state.drops.Load())}); lost != (LostError{}) {
		err = &lost
	}
	ctx, cancel := context.WithTimeout(ctx, max(time.Until(l.closeBy), recordsTimeout))
	defer cancel()
	return errors.Join(err, closed, l.fan.Close(ctx))
}
