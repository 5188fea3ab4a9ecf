package machine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/looplab/fsm"
)

// ErrIllegalEvent is the error of an event for which the table has no row in the current state.
var ErrIllegalEvent = errors.New("illegal event")

// ErrEnded is the error of an event that comes after the last state's Action has returned.
var ErrEnded = errors.New("the machine has ended")

// actionTimeout is how long an Action may take to return after its context ended, before Hooks.Late names it.
const actionTimeout = 5 * time.Second

// Hooks are called by the goroutine that moves the machine, so they must not block. A nil hook is not called.
type Hooks struct {
	Changed func(Change)                       // the state has changed; the next Action has not started yet
	Illegal func(State, Event)                 // the table has no row for the event in the state
	Late    func(s State, after time.Duration) // the Action of s does not return although its context ended
}

// A Machine moves through a Table. looplab/fsm holds the rows, decides whether an event is legal and has the
// current state. Machine adds the goroutine that moves it, and the rule that one state's Action has returned
// before the next one starts. A panic of an Action is not caught: it ends the process, because nobody knows
// what the Action has left behind.
type Machine struct {
	table Table // rows from Any written out
	fsm   *fsm.FSM
	hooks Hooks

	fired   chan firing
	started atomic.Bool
	done    chan struct{} // closed when Run returns

	// The rest belongs to Run's goroutine.
	base    context.Context    // what Actions' contexts are made from
	cancel  context.CancelFunc // ends the current Action
	ended   chan result        // the current Action's result; nil once it has been read
	failure error              // why the machine has closed itself
}

type firing struct {
	event Event
	reply chan error
}

type result struct {
	event Event
	err   error
}

// NewMachine checks the table and returns a machine in the initial state. Its error names everything that is wrong.
func NewMachine(t Table, h Hooks) (*Machine, error) {
	rows, err := t.expand()
	if err != nil {
		return nil, fmt.Errorf("machine: the table is wrong: %w", err)
	}
	t.Rows = rows
	m := &Machine{table: t, hooks: h, fired: make(chan firing), done: make(chan struct{})}
	events := make([]fsm.EventDesc, len(rows))
	for i, r := range rows {
		events[i] = fsm.EventDesc{Name: string(r.On), Src: []string{string(r.From)}, Dst: string(r.To)}
	}
	m.fsm = fsm.NewFSM(string(t.Initial), events, fsm.Callbacks{
		"leave_state": func(_ context.Context, e *fsm.Event) { m.leave(State(e.Src)) },
		"enter_state": func(_ context.Context, e *fsm.Event) {
			cause, _ := e.Args[0].(error)
			m.enter(Change{From: State(e.Src), To: State(e.Dst), On: Event(e.Event), Cause: cause})
		},
	})
	return m, nil
}

// State is the current state. It may be out of date when you read it.
func (m *Machine) State() State { return State(m.fsm.Current()) }

// Fire asks for an event and returns when the machine has moved, or why it has not: an error that wraps
// ErrIllegalEvent or ErrEnded, or ctx's own. Before Run it waits for Run.
func (m *Machine) Fire(ctx context.Context, e Event) error {
	f := firing{event: e, reply: make(chan error, 1)}
	select {
	case m.fired <- f:
	case <-m.done:
		return fmt.Errorf("machine: %s: %w", e, ErrEnded)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-f.reply:
		return err
	case <-ctx.Done(): // the machine may still move: an Action that fires must not wait for its own end
		return ctx.Err()
	}
}

// Run starts the initial state's Action and moves the machine until the Action of a state without a way out
// has returned, whose error it returns. When ctx ends, Run fires onCancel once, so every state that has a way
// out needs a row for it. It also fires onCancel when an Action returns an illegal event, or an error without
// an event.
func (m *Machine) Run(ctx context.Context, onCancel Event) error {
	if err := m.table.everyStateHas(onCancel); err != nil {
		return fmt.Errorf("machine: run: %w", err)
	}
	if !m.started.CompareAndSwap(false, true) {
		return errors.New("machine: run: it has been run before; make a new one")
	}
	defer close(m.done)
	m.base = context.WithoutCancel(ctx)
	m.enter(Change{To: m.table.Initial})
	cancelled := ctx.Done()
	for {
		select {
		case v := <-m.ended:
			m.ended = nil
			if m.table.isFinal(m.State()) {
				m.cancel()
				return errors.Join(m.failure, v.err)
			}
			m.obey(v, onCancel)
		case f := <-m.fired:
			f.reply <- m.step(f.event, nil)
		case <-cancelled:
			cancelled = nil
			_ = m.step(onCancel, nil) // illegal only if it is closing already
		}
	}
}

// obey moves the machine by the result of an Action.
func (m *Machine) obey(v result, onCancel Event) {
	if v.event == Stay && v.err == nil {
		return
	}
	err := v.err
	if v.event != Stay {
		if err = m.step(v.event, v.err); err == nil {
			return
		}
	}
	m.failure = fmt.Errorf("machine: the action of %s: %w", m.State(), err)
	_ = m.step(onCancel, m.failure) // Run has checked that this row exists
}

// step moves the machine by one event. looplab must not get a context that can end, because it would then stay in the
// middle of the transition.
func (m *Machine) step(e Event, cause error) error {
	from := m.State()
	err := m.fsm.Event(m.base, string(e), cause)
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(fsm.InvalidEventError)), errors.As(err, new(fsm.UnknownEventError)):
		if m.hooks.Illegal != nil {
			m.hooks.Illegal(from, e)
		}
		err = ErrIllegalEvent
	}
	return fmt.Errorf("machine: %q in state %s: %w", e, from, err)
}

// leave ends the current Action and waits until it has returned, however long that takes, so that two states never use
// the session at once.
func (m *Machine) leave(s State) {
	m.cancel()
	if m.ended == nil {
		return
	}
	select {
	case <-m.ended:
	case <-time.After(actionTimeout):
		if m.hooks.Late != nil {
			m.hooks.Late(s, actionTimeout)
		}
		<-m.ended
	}
	m.ended = nil
}

func (m *Machine) enter(c Change) {
	if m.hooks.Changed != nil && c.From != "" {
		m.hooks.Changed(c)
	}
	ctx, cancel := context.WithCancel(m.base)
	ended := make(chan result, 1)
	m.cancel, m.ended = cancel, ended
	do := m.table.action(c.To)
	go func() {
		event, err := do(ctx, c)
		ended <- result{event, err}
	}()
}
