package machine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/machine"
)

// wait is an Action that works until it is left.
func wait(ctx context.Context, _ machine.Change) (machine.Event, error) {
	<-ctx.Done()
	return machine.Stay, nil
}

func returns(e machine.Event, err error) machine.Action {
	return func(context.Context, machine.Change) (machine.Event, error) { return e, err }
}

// lamp is a small table: Off and On, and Broken, which has no way out.
func lamp(off, on machine.Action) machine.Table {
	return machine.Table{
		Initial: "Off",
		States:  []machine.StateSpec{{Name: "Off", Do: off}, {Name: "On", Do: on}, {Name: "Broken"}},
		Rows: []machine.Transition{
			{From: "Off", On: "switch", To: "On"},
			{From: "On", On: "switch", To: "Off"},
			{From: machine.Any, On: "break", To: "Broken"},
		},
	}
}

// path collects the states that a machine enters.
type path struct {
	mu      sync.Mutex
	states  []string
	changes []machine.Change
	refused []string
	late    []machine.State
}

func (p *path) hooks() machine.Hooks {
	return machine.Hooks{
		Changed: func(c machine.Change) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.states = append(p.states, string(c.To))
			p.changes = append(p.changes, c)
		},
		Illegal: func(s machine.State, e machine.Event) { p.refused = append(p.refused, string(s)+" "+string(e)) },
		Late:    func(s machine.State, _ time.Duration) { p.late = append(p.late, s) },
	}
}

func (p *path) want(t *testing.T, states ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.states, states) {
		t.Errorf("path %v, want %v", p.states, states)
	}
}

func TestAnActionsEventMovesTheMachineWithItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p path
		cause := errors.New("dusk")
		m, err := machine.NewMachine(lamp(returns("switch", cause), returns("break", nil)), p.hooks())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(t.Context(), "break"); err != nil {
			t.Fatal(err)
		}
		p.want(t, "On", "Broken")
		if !errors.Is(p.changes[0].Cause, cause) {
			t.Errorf("cause %v, want %v", p.changes[0].Cause, cause)
		}
	})
}

func TestAnIllegalEventIsAnErrorAndSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p path
		m, _ := machine.NewMachine(lamp(wait, wait), p.hooks())
		ctx, cancel := context.WithCancel(t.Context())
		go m.Run(ctx, "break")
		for _, e := range []machine.Event{"explode", "switch", ""} {
			err := m.Fire(ctx, e)
			if legal := e == "switch"; legal != (err == nil) || (!legal && !errors.Is(err, machine.ErrIllegalEvent)) {
				t.Errorf("%q: %v", e, err)
			}
		}
		cancel()
		synctest.Wait()
		p.want(t, "On", "Broken")
		if want := []string{"Off explode", "On "}; !slices.Equal(p.refused, want) {
			t.Errorf("refused %q, want %q", p.refused, want)
		}
		if err := m.Fire(t.Context(), "switch"); !errors.Is(err, machine.ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestAStateThatWasLeftHasReturnedBeforeTheNextStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := false // no mutex: the race detector is the judge
		slow := func(ctx context.Context, _ machine.Change) (machine.Event, error) {
			held = true
			<-ctx.Done()
			time.Sleep(time.Second)
			held = false
			return "switch", nil // too late to be heard
		}
		next := func(ctx context.Context, c machine.Change) (machine.Event, error) {
			if held {
				t.Error("two states at once")
			}
			return wait(ctx, c)
		}
		var p path
		m, _ := machine.NewMachine(lamp(slow, next), p.hooks())
		ctx, cancel := context.WithCancel(t.Context())
		go m.Run(ctx, "break")
		if err := m.Fire(ctx, "switch"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.want(t, "On")
		cancel()
	})
}

func TestAnActionThatDoesNotReturnIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p path
		stuck := func(context.Context, machine.Change) (machine.Event, error) {
			time.Sleep(time.Minute)
			return machine.Stay, nil
		}
		m, _ := machine.NewMachine(lamp(stuck, wait), p.hooks())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.Run(ctx, "break"); err != nil {
			t.Error(err)
		}
		if !slices.Equal(p.late, []machine.State{"Off"}) {
			t.Errorf("named %v", p.late)
		}
	})
}

func TestAnActionThatBreaksTheRulesClosesTheMachineWithAnError(t *testing.T) {
	why := errors.New("no bulb")
	for name, do := range map[string]machine.Action{
		"an illegal event":         returns("explode", nil),
		"an error without a event": returns(machine.Stay, why),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p path
				m, _ := machine.NewMachine(lamp(do, wait), p.hooks())
				err := m.Run(t.Context(), "break")
				if err == nil || !strings.Contains(err.Error(), "Off") {
					t.Errorf("error %v", err)
				}
				p.want(t, "Broken")
			})
		})
	}
}

func TestFireFromInsideAnActionCannotDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p path
		var m *machine.Machine
		do := func(ctx context.Context, _ machine.Change) (machine.Event, error) {
			err := m.Fire(ctx, "switch")
			return machine.Stay, err
		}
		m, _ = machine.NewMachine(lamp(do, returns("break", nil)), p.hooks())
		if err := m.Run(t.Context(), "break"); err != nil {
			t.Error(err)
		}
		p.want(t, "On", "Broken")
	})
}

func TestATableThatCannotWorkIsRefused(t *testing.T) {
	ok := lamp(nil, nil)
	for want, table := range map[string]machine.Table{
		"initial state":             {Initial: "x"},
		"is there twice":            ok.With([]machine.StateSpec{{Name: "On"}}, nil),
		"does not exist":            ok.With(nil, []machine.Transition{{From: "On", On: "fly", To: "Sky"}}),
		"two rows for On --switch-": ok.With(nil, []machine.Transition{{From: "On", On: "switch", To: "Broken"}}),
		"leads nowhere":             ok.With(nil, []machine.Transition{{From: "On", On: "blink", To: "On"}}),
		"no row leads":              ok.With([]machine.StateSpec{{Name: "Lost"}}, nil),
		"name of an event":          ok.With(nil, []machine.Transition{{From: "On", On: "", To: "Broken"}}),
		"name of a state":           ok.With([]machine.StateSpec{{Name: "two words"}}, nil),
		"there is no state":         ok.Wrap("Nowhere", func(a machine.Action) machine.Action { return a }),
	} {
		if _, err := machine.NewMachine(table, machine.Hooks{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	m, err := machine.NewMachine(ok, machine.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context(), "explode"); err == nil {
		t.Error("Run accepted an event that cannot end the machine")
	}
}
