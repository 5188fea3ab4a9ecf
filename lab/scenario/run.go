package scenario

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A World is the cloud in which a scenario happens. *emulator.Cloud is one.
type World interface {
	Inject(target string, fault emulator.Fault, p emulator.Params) error
	Clear(target string, fault emulator.Fault) error
	MoveDevice(deviceID, hub string) error
	SetDesired(deviceID string, patch map[string]any) error
	InvokeMethod(ctx context.Context, deviceID, name string, payload []byte) (status int, body []byte, err error)
	InvokeCommand(ctx context.Context, deviceID, name string, parameter []byte) error
}

// A Happening is a step that was done, or what became of a method or a command.
type Happening struct {
	Step
	Since  time.Duration // the beginning of the run; At is when it was due
	Err    error         // the cloud did not do it
	Answer *Answer       // of a method or a command, which happens twice: it is sent, and it is answered or not
}

// An Answer is how a method or a command ended.
type Answer struct {
	Status int    // of a method; a command is completed and has none
	Body   []byte // of a method
	Took   time.Duration
	Err    error // why there is no answer
}

// ErrUnanswered is the answer of whatever had none when the scenario ended.
var ErrUnanswered = errors.New("scenario: there was no answer before the end")

// String is the happening in one line.
func (h Happening) String() string {
	text := short(h.Since.Round(time.Millisecond)) + " " + h.Step.String()
	switch a := h.Answer; {
	case h.Err != nil:
		text += ": " + h.Err.Error()
	case a == nil:
	case a.Err != nil:
		text += ": no answer: " + a.Err.Error()
	case h.Verb == Method:
		text += fmt.Sprintf(": %d %s in %s", a.Status, a.Body, a.Took.Round(time.Millisecond))
	default:
		text += ": completed in " + a.Took.Round(time.Millisecond).String()
	}
	return text
}

// Run lets the scenario happen to a device that is at hub A. It returns at the scenario's end, or soon after ctx ends, when
// nothing that it struck is struck any more and everything that it called has ended. What happens is told to observe, one thing
// at a time and in order; it holds up the scenario, and may be nil. The error is of ctx, and of whatever could not be struck,
// healed or moved.
func (s Scenario) Run(ctx context.Context, w World, deviceID string, observe func(Happening)) error {
	calling, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{world: w, device: deviceID, begin: time.Now(), tell: observe}
	r.replies = make(chan reply, len(s.steps))
	err := r.play(ctx, calling, s)
	r.healAll(calling)
	cancel()
	r.settle()
	if err = errors.Join(append(r.errs, err)...); err != nil {
		return fmt.Errorf("scenario: %s: %w", s.Name, err)
	}
	return nil
}

// A run is a scenario that happens. But for the calls it is one goroutine's.
type run struct {
	world   World
	device  string
	begin   time.Time
	tell    func(Happening)
	struck  struck
	errs    []error
	calls   sync.WaitGroup
	called  int        // calls so far
	replies chan reply // has room for all
}

// A reply is how the n-th call ended.
type reply struct {
	Happening
	n int
}

func (r *run) play(ctx, calling context.Context, s Scenario) error {
	for _, step := range s.steps {
		if err := r.until(ctx, step.At); err != nil {
			return err
		}
		r.do(calling, step)
	}
	return r.until(ctx, s.End)
}

// until waits for a moment, and tells of answers meanwhile.
func (r *run) until(ctx context.Context, moment time.Duration) error {
	timer := time.NewTimer(time.Until(r.begin.Add(moment)))
	defer timer.Stop()
	for {
		select {
		case answered := <-r.replies:
			r.observe(answered.Happening)
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		}
	}
}

func (r *run) do(calling context.Context, step Step) {
	var err error
	switch {
	case step.Verb.ofLizard():
		if err = r.unleash(step); err != nil {
			r.errs = append(r.errs, fmt.Errorf("%s at %s: %w", step, short(step.At), err))
		}
	case step.Verb == Desired:
		err = r.desire(step.Payload)
	}
	r.observe(Happening{Step: step, Since: time.Since(r.begin), Err: err})
	if step.Verb == Method || step.Verb == Command {
		r.call(calling, step)
	}
}

// unleash strikes, heals or moves.
func (r *run) unleash(step Step) (err error) {
	switch step.Verb {
	case Strike:
		p := step.Params
		p.For = 0 // its end is a step of its own
		if err = r.world.Inject(r.target(step.Target), step.Fault, p); err == nil {
			r.struck.strike(step.Act, 0)
		}
	case Heal:
		if err = r.world.Clear(r.target(step.Target), step.Fault); err == nil {
			r.struck.heal(step.Target, step.Fault)
		}
	case Move:
		err = r.world.MoveDevice(r.device, step.Target)
	}
	return err
}

func (r *run) desire(payload string) error {
	var patch map[string]any
	decoder := json.NewDecoder(strings.NewReader(payload))
	decoder.UseNumber()
	if err := decoder.Decode(&patch); err != nil {
		return err
	}
	return r.world.SetDesired(r.device, patch)
}

// call waits for an answer without holding up the scenario.
func (r *run) call(ctx context.Context, step Step) {
	r.called++
	n := r.called
	r.calls.Go(func() {
		begin := time.Now()
		var a Answer
		if step.Verb == Method {
			a.Status, a.Body, a.Err = r.world.InvokeMethod(ctx, r.device, step.Name, []byte(step.Payload))
		} else {
			a.Err = r.world.InvokeCommand(ctx, r.device, step.Name, []byte(step.Payload))
		}
		if a.Err != nil && ctx.Err() != nil {
			a.Err = ErrUnanswered
		}
		a.Took = time.Since(begin)
		r.replies <- reply{Happening{Step: step, Since: time.Since(r.begin), Answer: &a}, n}
	})
}

// healAll ends whatever is struck, the oldest first.
func (r *run) healAll(calling context.Context) {
	for _, b := range slices.Clone(r.struck) {
		r.do(calling, Step{At: time.Since(r.begin), Act: Act{Verb: Heal, Target: b.target, Fault: b.fault}})
	}
}

// settle waits for every call and tells how they ended, those that were sent first first.
func (r *run) settle() {
	r.calls.Wait()
	close(r.replies)
	var rest []reply
	for answered := range r.replies {
		rest = append(rest, answered)
	}
	slices.SortFunc(rest, func(a, b reply) int { return cmp.Compare(a.n, b.n) })
	for _, answered := range rest {
		r.observe(answered.Happening)
	}
}

// target is what the world calls one. A hub may have the device's ID.
func (r *run) target(name string) string {
	if name == Device {
		return "device/" + r.device
	}
	return name
}

func (r *run) observe(h Happening) {
	if r.tell != nil {
		r.tell(h)
	}
}
