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

// A World is the cloud in which a scenario runs, such as an *emulator.Cloud.
type World interface {
	Inject(target string, fault emulator.Fault, p emulator.Params) error
	Clear(target string, fault emulator.Fault) error
	MoveDevice(deviceID, hub string) error
	SetDesired(deviceID string, patch map[string]any) error
	InvokeMethod(ctx context.Context, deviceID, name string, payload []byte) (status int, body []byte, err error)
	InvokeCommand(ctx context.Context, deviceID, name string, parameter []byte) error
}

// An Event is a step that was done, or the result of a method or a command.
type Event struct {
	Step
	Since  time.Duration // actual time since the beginning of the run; At is the planned time
	Err    error         // why the cloud did not do the step
	Answer *Answer       // the result; nil when a method or a command is sent, and for other steps
}

// An Answer is the result of a method or a command.
type Answer struct {
	Status int    // status of a method; a command has no status
	Body   []byte // response of a method
	Took   time.Duration
	Err    error // why there is no answer
}

// ErrUnanswered is the error of a call that had no answer when the scenario ended.
var ErrUnanswered = errors.New("scenario: there was no answer before the end")

// ErrOver is the cause with which the caller cancels the context of Run if the rest of the scenario
// has no use, because the device under test has ended.
var ErrOver = errors.New("scenario: the device under test has ended")

// String returns the event in one line.
func (h Event) String() string {
	text := formatDuration(h.Since.Round(time.Millisecond)) + " " + h.Step.String()
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

// Run runs the scenario for a device that is assigned to hub A. It returns at the end of the
// scenario, or soon after ctx ends. Before Run returns, it clears the faults that are still active and
// waits for the calls of methods and commands. It calls observe with each event, one at a time and in
// order. The scenario waits while observe runs; observe may be nil. The error joins the error of ctx and
// the errors of faults and moves that the cloud refused. If the cause of ctx's end is ErrOver, the error of
// ctx is not part of it.
func (s Scenario) Run(ctx context.Context, w World, deviceID string, observe func(Event)) error {
	calling, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{world: w, device: deviceID, begin: time.Now(), observe: observe}
	r.replies = make(chan reply, len(s.steps))
	err := r.play(ctx, calling, s)
	if errors.Is(context.Cause(ctx), ErrOver) {
		err = nil
	}
	r.clearAll(calling)
	cancel()
	r.waitForCalls()
	if err = errors.Join(append(r.errs, err)...); err != nil {
		return fmt.Errorf("scenario: %s: %w", s.Name, err)
	}
	return nil
}

// A run is one execution of a scenario. One goroutine owns it; each call has a goroutine of its own.
type run struct {
	world   World
	device  string
	begin   time.Time
	observe func(Event)
	active  activeFaults
	errs    []error
	calls   sync.WaitGroup
	called  int        // the number of calls so far
	replies chan reply // has room for the replies to all calls
}

// A reply is the result of the n-th call.
type reply struct {
	Event
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

// until waits for a time of the scenario, and reports answers meanwhile.
func (r *run) until(ctx context.Context, moment time.Duration) error {
	if ctx.Err() != nil { // otherwise select might choose a moment that has come, too
		return ctx.Err()
	}
	timer := time.NewTimer(time.Until(r.begin.Add(moment)))
	defer timer.Stop()
	for {
		select {
		case answered := <-r.replies:
			r.report(answered.Event)
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		}
	}
}

// do does one step.
func (r *run) do(calling context.Context, step Step) {
	var err error
	switch {
	case step.Verb.changesCloud():
		if err = r.change(step); err != nil {
			r.errs = append(r.errs, fmt.Errorf("%s at %s: %w", step, formatDuration(step.At), err))
		}
	case step.Verb == Desired:
		err = r.setDesired(step.Payload)
	}
	r.report(Event{Step: step, Since: time.Since(r.begin), Err: err})
	if step.Verb == Method || step.Verb == Command {
		r.call(calling, step)
	}
}

// change injects a fault, clears faults, or moves the device.
func (r *run) change(step Step) (err error) {
	switch step.Verb {
	case Inject:
		p := step.Params
		p.For = 0 // the end is a step of its own
		if err = r.world.Inject(r.target(step.Target), step.Fault, p); err == nil {
			r.active.inject(step.Act, 0)
		}
	case Clear:
		if err = r.world.Clear(r.target(step.Target), step.Fault); err == nil {
			r.active.clear(step.Target, step.Fault)
		}
	case Move:
		err = r.world.MoveDevice(r.device, step.Target)
	}
	return err
}

// setDesired sends a patch of desired properties.
func (r *run) setDesired(payload string) error {
	var patch map[string]any
	decoder := json.NewDecoder(strings.NewReader(payload))
	decoder.UseNumber()
	if err := decoder.Decode(&patch); err != nil {
		return err
	}
	return r.world.SetDesired(r.device, patch)
}

// call calls a method or a command and waits for the answer on a goroutine of its own.
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
		r.replies <- reply{Event{Step: step, Since: time.Since(r.begin), Answer: &a}, n}
	})
}

// clearAll clears the active faults, the oldest first.
func (r *run) clearAll(calling context.Context) {
	for _, f := range slices.Clone(r.active) {
		r.do(calling, Step{At: time.Since(r.begin), Act: Act{Verb: Clear, Target: f.target, Fault: f.fault}})
	}
}

// waitForCalls waits for all calls and reports their results in the order in which they were sent.
func (r *run) waitForCalls() {
	r.calls.Wait()
	close(r.replies)
	var rest []reply
	for answered := range r.replies {
		rest = append(rest, answered)
	}
	slices.SortFunc(rest, func(a, b reply) int { return cmp.Compare(a.n, b.n) })
	for _, answered := range rest {
		r.report(answered.Event)
	}
}

// target returns the name of a target in the World. The device has a prefix, because a hub may have the
// device's ID.
func (r *run) target(name string) string {
	if name == Device {
		return "device/" + r.device
	}
	return name
}

func (r *run) report(h Event) {
	if r.observe != nil {
		r.observe(h)
	}
}
