package scenario

import (
	"cmp"
	"slices"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A Step is one thing that is done at one moment.
type Step struct {
	At time.Duration // since the scenario's beginning
	Act
	Way Way
}

// A Way says what a step does to the device's way into the cloud. It is open while neither the device nor the hub that it belongs
// to is struck and, once the device has been moved, DPS is not either.
type Way string

// What Recovery is counted by: from Opens to the next reading that is stored, unless Shuts comes before.
const (
	Unchanged Way = ""
	Opens     Way = "opens" // or it was open, and the device is moved
	Shuts     Way = "shuts"
)

// timeline makes steps of the statements. What a strike has begun ends with a step of its own; what ends at a moment ends before
// anything begins there, and otherwise the text's order counts.
func (s Scenario) timeline() []Step {
	l := line{home: hubs[0]}
	for _, step := range s.begun() {
		l.endUntil(step.At)
		l.do(step)
	}
	l.endUntil(s.End - 1)
	return l.steps
}

// begun are the steps that statements begin, in order.
func (s Scenario) begun() (steps []Step) {
	for i, st := range s.statements {
		switch st.when {
		case "at":
			steps = append(steps, Step{At: st.at, Act: st.act})
		case "every":
			for at := st.from; at < s.End && (st.to == 0 || at <= st.to); at += st.every {
				steps = append(steps, Step{At: at, Act: st.act})
			}
		case "random":
			steps = append(steps, attack(st, i)...)
		}
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return steps
}

// A line is what is known at one moment of a timeline.
type line struct {
	steps []Step
	struck
	home  string // the hub that the device belongs to
	moved bool
	shut  bool
}

// struck are the strikes in force, the oldest first.
type struck []blow

type blow struct {
	target string
	fault  emulator.Fault
	until  time.Duration // 0: until it is healed
}

// strike puts a fault in force, in place of those that it replaces.
func (s *struck) strike(a Act, until time.Duration) {
	group := known(a.Fault).Group
	*s = slices.DeleteFunc(*s, func(b blow) bool {
		return b.target == a.Target && (b.fault == a.Fault || group != "" && known(b.fault).Group == group)
	})
	*s = append(*s, blow{a.Target, a.Fault, until})
}

// heal ends a fault at a target, or all there if it is "".
func (s *struck) heal(target string, fault emulator.Fault) {
	*s = slices.DeleteFunc(*s, func(b blow) bool { return b.target == target && (fault == "" || b.fault == fault) })
}

func (s struck) at(target string) bool {
	return slices.ContainsFunc(s, func(b blow) bool { return b.target == target })
}

// endUntil ends what ends by itself, up to a moment.
func (l *line) endUntil(moment time.Duration) {
	for {
		var next *blow
		for i, b := range l.struck {
			if b.until > 0 && b.until <= moment && (next == nil || b.until < next.until) {
				next = &l.struck[i]
			}
		}
		if next == nil {
			return
		}
		l.do(Step{At: next.until, Act: Act{Verb: Heal, Target: next.target, Fault: next.fault}})
	}
}

// do adds a step.
func (l *line) do(step Step) {
	moves := false
	switch step.Verb {
	case Strike:
		until := time.Duration(0)
		if step.Params.For > 0 {
			until = step.At + step.Params.For
		}
		l.strike(step.Act, until)
	case Heal:
		l.heal(step.Target, step.Fault)
	case Move:
		moves = step.Target != l.home
		l.home, l.moved = step.Target, l.moved || moves
	}
	shut := l.at(Device) || l.at(l.home) || l.moved && l.at(DPS)
	switch {
	case shut && !l.shut:
		step.Way = Shuts
	case !shut && (l.shut || moves):
		step.Way = Opens
	}
	l.shut = shut
	l.steps = append(l.steps, step)
}
