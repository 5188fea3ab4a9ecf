package scenario

import (
	"cmp"
	"slices"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A Step is one thing that is done at one moment.
type Step struct {
	At time.Duration // time since the beginning of the scenario
	Act
	Way Way
}

// A Way says what a step does to the device's way into the cloud. The way is open while neither the
// device nor its assigned hub has a fault. Once the device has been moved, DPS must not have a
// fault either.
type Way string

// The values of Way. Recovery counts from Opens to the next reading that is stored, unless Shuts
// comes first.
const (
	Unchanged Way = ""
	Opens     Way = "opens" // the way becomes open, or it was open and the device was moved
	Shuts     Way = "shuts" // the way is not open any more
)

// timeline returns the steps of the statements, with the ends of faults as steps of their own. Of the
// steps at the same time, the ends of faults come first; the others are in the order of the text.
func (s Scenario) timeline() []Step {
	b := builder{home: hubs[0]}
	for _, step := range s.firstSteps() {
		b.endUntil(step.At)
		b.do(step)
	}
	b.endUntil(s.End - 1)
	return b.steps
}

// firstSteps returns the steps of the statements without the ends of faults, in order.
func (s Scenario) firstSteps() (steps []Step) {
	for i, st := range s.statements {
		switch st.when {
		case "at":
			steps = append(steps, Step{At: st.at, Act: st.act})
		case "every":
			for at := st.from; at < s.End && (st.to == 0 || at <= st.to); at += st.every {
				steps = append(steps, Step{At: at, Act: st.act})
			}
		case "random":
			steps = append(steps, randomSteps(st, i)...)
		}
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return steps
}

// A builder makes a timeline. It holds the state at the time of the last step.
type builder struct {
	steps []Step
	activeFaults
	home    string // the hub that the device is assigned to
	moved   bool
	blocked bool // the way into the cloud is not open
}

// activeFaults are the faults that are active, the oldest first.
type activeFaults []activeFault

type activeFault struct {
	target string
	fault  emulator.Fault
	until  time.Duration // time of the end; 0 means that the fault lasts until it is cleared
}

// inject adds a fault and removes those that it replaces.
func (s *activeFaults) inject(a Act, until time.Duration) {
	group := infoOf(a.Fault).Group
	*s = slices.DeleteFunc(*s, func(f activeFault) bool {
		return f.target == a.Target && (f.fault == a.Fault || group != "" && infoOf(f.fault).Group == group)
	})
	*s = append(*s, activeFault{a.Target, a.Fault, until})
}

// clear removes a fault at a target, or all faults at it if fault is "".
func (s *activeFaults) clear(target string, fault emulator.Fault) {
	*s = slices.DeleteFunc(*s, func(f activeFault) bool {
		return f.target == target && (fault == "" || f.fault == fault)
	})
}

func (s activeFaults) at(target string) bool {
	return slices.ContainsFunc(s, func(f activeFault) bool { return f.target == target })
}

// endUntil adds the ends of the faults that end by themselves up to a time.
func (b *builder) endUntil(moment time.Duration) {
	for {
		var next *activeFault
		for i, f := range b.activeFaults {
			if f.until > 0 && f.until <= moment && (next == nil || f.until < next.until) {
				next = &b.activeFaults[i]
			}
		}
		if next == nil {
			return
		}
		b.do(Step{At: next.until, Act: Act{Verb: Clear, Target: next.target, Fault: next.fault}})
	}
}

// do adds a step to the timeline, and updates the state by its effect.
func (b *builder) do(step Step) {
	moves := false
	switch step.Verb {
	case Inject:
		until := time.Duration(0)
		if step.Params.For > 0 {
			until = step.At + step.Params.For
		}
		b.inject(step.Act, until)
	case Clear:
		b.clear(step.Target, step.Fault)
	case Move:
		moves = step.Target != b.home
		b.home, b.moved = step.Target, b.moved || moves
	}
	blocked := b.at(Device) || b.at(b.home) || b.moved && b.at(DPS)
	switch {
	case blocked && !b.blocked:
		step.Way = Shuts
	case !blocked && (b.blocked || moves):
		step.Way = Opens
	}
	b.blocked = blocked
	b.steps = append(b.steps, step)
}
