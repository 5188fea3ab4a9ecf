package drill

import (
	"errors"
	"slices"
	"sync"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// Evidence is what a drill observed of a client in a scenario, from outside. No row of a card depends
// on the client's own output.
type Evidence struct {
	Start, End time.Time     // start and end of the scenario
	Stopped    time.Time     // time at which the client was told to end, or would have been if it had not ended before
	Ended      time.Time     // time at which the client ended by itself; zero means that it did not
	Interval   time.Duration // time between readings, as the client was told
	Numbers    Numbers

	Acts           []Act
	Deliveries     []emulator.Delivery // stored telemetry in the order of arrival
	Attempts       []time.Time         // times of all attempts to connect to a hub or to DPS, successful or not
	Breaches       []string            // the rules of the protocol that the client broke
	Unacknowledged []string            // desired properties whose newest value is unacknowledged at the end
	Calls          []Call
	Process        Usage
	Events         []emulator.Event
}

// withoutWills leaves out the Will messages, which a hub stores when a client disappears.
func (e *Evidence) withoutWills() *Evidence {
	readings := *e
	readings.Deliveries = slices.DeleteFunc(slices.Clone(e.Deliveries), func(d emulator.Delivery) bool {
		return d.Properties["iothub-MessageType"] == "Will"
	})
	return &readings
}

// An Act is a change of the cloud or a call of the device.
type Act struct {
	At   time.Time
	Text string
	Way  scenario.Way // the act's effect on the client's way into the cloud
}

// A Call is a direct method or a command that was sent.
type Call struct {
	Verb scenario.Verb
	Err  error // reason why there is no answer; nil means that there is an answer
}

// errUnsent is the Err of a call that was not sent, because the client had ended.
var errUnsent = errors.New("drill: the client had ended before the call was sent")

// Usage describes the resources that a client has used, and how the client ended.
type Usage struct {
	// Died says how the client ended, if it ended before Stop or too late; otherwise it is empty. It is a
	// sentence without its subject, the client.
	Died    string
	Output  []string      // the last lines of the output, without keys; nil means that the output is unknown
	CPU     time.Duration // CPU time; zero means unknown
	Memory  int64         // the maximum of the resident memory, in bytes; zero means unknown
	Elapsed time.Duration
}

// A recorder keeps the events of a cloud.
type recorder struct {
	mu     sync.Mutex
	events []emulator.Event
}

func (r *recorder) observe(e emulator.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []emulator.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[:len(r.events):len(r.events)]
}
