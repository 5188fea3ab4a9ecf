package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A State is the name of a state in a table.
type State string

// An Event is the name of an event in a table.
type Event string

const (
	// Stay is no event: an Action that returns it waits in its state for an event from outside (Fire).
	Stay Event = ""
	// Any, as the From of a row, means every state with a row of its own, except the row's To.
	Any State = "*"
)

// An Action is the work of one state. It returns the event that ends the state, and the cause of the event,
// which may be nil. ctx ends when another event moves the machine. Then the Action must return, because the
// Action of the next state starts only afterwards. An error with Stay closes the machine. A panic of an
// Action ends the process.
type Action func(ctx context.Context, c Change) (Event, error)

// A StateSpec describes one state. Doc describes the state in the generated document. Do is the Action; nil
// means that the state waits for an event from outside.
type StateSpec struct {
	Name State
	Doc  string
	Do   Action
}

// A Transition is one row of the table. Doc says, in the generated document, when the transition happens.
type Transition struct {
	From State
	On   Event
	To   State
	Doc  string
}

// A Change is one move of the machine. Cause is the error that came with the event, or nil.
type Change struct {
	From, To State
	On       Event
	Cause    error
}

// A Table holds the states and the rows that connect them. With and Wrap extend a table.
type Table struct {
	Initial State
	States  []StateSpec
	Rows    []Transition

	wrong error // errors of Wrap, which NewMachine returns
}

// With returns a copy that also has these states and rows.
func (t Table) With(states []StateSpec, rows []Transition) Table {
	t.States = slices.Concat(t.States, states)
	t.Rows = slices.Concat(t.Rows, rows)
	return t
}

// Wrap returns a copy in which around(a) replaces a, the Action of the state s.
func (t Table) Wrap(s State, around func(Action) Action) Table {
	t.States = slices.Clone(t.States)
	i := slices.IndexFunc(t.States, func(spec StateSpec) bool { return spec.Name == s })
	if i < 0 {
		t.wrong = errors.Join(t.wrong, fmt.Errorf("wrap: there is no state %q", s))
		return t
	}
	t.States[i].Do = around(t.action(s))
	return t
}

func (t Table) action(s State) Action {
	for _, spec := range t.States {
		if spec.Name == s && spec.Do != nil {
			return spec.Do
		}
	}
	return func(context.Context, Change) (Event, error) { return Stay, nil }
}

func (t Table) isFinal(s State) bool {
	return !slices.ContainsFunc(t.Rows, func(r Transition) bool { return r.From == s })
}

// everyStateHas returns an error that names each state, except the final ones, without a row for the event e,
// which ends the machine.
func (t Table) everyStateHas(e Event) error {
	var errs []error
	for _, spec := range t.States {
		leaves := func(r Transition) bool { return r.From == spec.Name && r.On == e }
		if !slices.ContainsFunc(t.Rows, leaves) && !t.isFinal(spec.Name) {
			errs = append(errs, fmt.Errorf("machine: the table is wrong: "+
				"state %s has no row for %q, which ends the machine", spec.Name, e))
		}
	}
	return errors.Join(errs...)
}

// expand returns the rows, with each row from Any replaced by one row for each state. It refuses mistakes
// that looplab/fsm would accept: invalid, unknown and duplicate names, two rows for the same state and event,
// rows from a state to itself, and states to which no row leads.
func (t Table) expand() ([]Transition, error) {
	errs := []error{t.wrong}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	known := map[State]bool{}
	for _, s := range t.States {
		if s.Name == "" || s.Name == Any || strings.ContainsAny(string(s.Name), " \t\n:") {
			wrong("%q cannot be the name of a state", s.Name)
		}
		if known[s.Name] {
			wrong("state %s is there twice", s.Name)
		}
		known[s.Name] = true
	}
	if !known[t.Initial] {
		wrong("the initial state %q is not one of the states", t.Initial)
	}

	rows := t.withoutAny()
	seen := map[Transition]bool{}
	reached := map[State]bool{t.Initial: true}
	for _, r := range rows {
		if !known[r.From] || !known[r.To] {
			wrong("row %s --%s--> %s names a state that does not exist", r.From, r.On, r.To)
		}
		if r.On == Stay || strings.ContainsAny(string(r.On), " \t\n:") {
			wrong("%q cannot be the name of an event (row %s --> %s)", r.On, r.From, r.To)
		}
		if r.From == r.To {
			wrong("row %s --%s--> %s leads nowhere: let the Action go on instead", r.From, r.On, r.To)
		}
		key := Transition{From: r.From, On: r.On}
		if seen[key] {
			wrong("there are two rows for %s --%s-->", r.From, r.On)
		}
		seen[key] = true
		reached[r.To] = true
	}
	for _, s := range t.States {
		if !reached[s.Name] {
			wrong("no row leads to state %s", s.Name)
		}
	}
	return rows, errors.Join(errs...)
}

func (t Table) withoutAny() []Transition {
	var rows []Transition
	leaves := map[State]bool{} // states that have a row of their own
	for _, r := range t.Rows {
		if r.From != Any {
			rows = append(rows, r)
			leaves[r.From] = true
		}
	}
	for _, r := range t.Rows {
		if r.From != Any {
			continue
		}
		for _, s := range t.States {
			if leaves[s.Name] && s.Name != r.To {
				rows = append(rows, Transition{From: s.Name, On: r.On, To: r.To, Doc: r.Doc})
			}
		}
	}
	return rows
}
