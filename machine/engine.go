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

// ErrEnded is the error of an event that comes after the machine has ended.
var ErrEnded = errors.New("the machine has ended")

// actionTimeout is how long an Action may take to return after its context has ended. After that Hooks.Late
// is called.
const actionTimeout = 5 * time.Second

// Hooks are called by the goroutine that moves the machine, so they must not block. A nil hook is not called.
type Hooks struct {
	Changed func(Change)                       // the state has changed; the next Action has not started yet
	Illegal func(State, Event)                 // the table has no row for the event in the state
	Late    func(s State, after time.Duration) // the Action of s still runs this long after its context has ended
}

// A Machine runs the states of a Table. looplab/fsm holds the rows and the current state, and decides whether
// an event is legal. Machine adds the goroutine that runs the Actions, and the rule that the Action of one
// state has returned before the Action of the next state starts. A panic of an Action ends the process,
// because the Action may have left shared data in an unknown state.
type Machine struct {
	table Table // the table, with each row from Any replaced by one row for each state
	fsm   *fsm.FSM
	hooks Hooks

	fired   chan firing
	started atomic.Bool
	done    chan struct{} // closed when Run returns, or by abandon

	// The rest belongs to Run's goroutine.
	base    context.Context    // parent of the Actions' contexts
	cancel  context.CancelFunc // ends the context of the current Action
	ended   chan result        // receives the current Action's result; nil once the result has been read
	failure error              // error because of which the machine has closed itself
}

type firing struct {
	event Event
	reply chan error
}

type result struct {
	event Event
	err   error
}

// NewMachine checks the table and returns a machine in the initial state. Its error names all mistakes in the
// table.
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

// State returns the current state. The result may be out of date when you read it.
func (m *Machine) State() State { return State(m.fsm.Current()) }

// Fire triggers an event and returns nil when the machine has moved. Otherwise it returns an error that wraps
// ErrIllegalEvent or ErrEnded, or the error of ctx. If Run has not been called yet, Fire waits for it.
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
	case <-ctx.Done(): // the machine may still move; this case lets an Action that called Fire return
		return ctx.Err()
	}
}

// Run starts the Action of the initial state, and moves the machine until the Action of a final state, one
// without rows of its own, has returned. Run returns the error of that Action. When ctx ends, Run fires the
// event onCancel once, so every other state needs a row for onCancel. Run also fires onCancel when an Action
// returns an illegal event, or an error without an event.
func (m *Machine) Run(ctx context.Context, onCancel Event) error {
	if err := m.table.everyStateHas(onCancel); err != nil {
		return err
	}
	if !m.started.CompareAndSwap(false, true) {
		return errors.New("machine: run: this machine was already run; make a new machine")
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
			_ = m.step(onCancel, nil) // the event is illegal only if the machine is closing already
		}
	}
}

// abandon ends a machine that was never run: Fire returns ErrEnded, and Run an error.
func (m *Machine) abandon() {
	if m.started.CompareAndSwap(false, true) {
		close(m.done)
	}
}

// obey moves the machine by the event that an Action has returned. If that fails, it closes the machine.
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
	_ = m.step(onCancel, m.failure) // Run has checked that every state but a final one has a row for onCancel
}

// step moves the machine by one event. It gives looplab/fsm a context that cannot end, because the library
// would stop in the middle of a transition if its context ended.
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

// leave ends the context of the current Action and waits until the Action has returned, however long that
// takes, so that two states never use the session at the same time.
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
