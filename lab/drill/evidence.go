package drill

import (
	"slices"
	"sync"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// Evidence is what was observed of a client in a scenario, from outside. Nothing in it comes from
// the client's own log.
type Evidence struct {
	Start, End time.Time     // of the scenario
	Stopped    time.Time     // when the client was told to end
	Interval   time.Duration // at which the client was told to take readings
	Numbers    Numbers

	Acts           []Act
	Deliveries     []emulator.Delivery // in the order of arrival
	Attempts       []time.Time         // to connect, successful or not, to a hub or to DPS
	Breaches       []string            // the rules of the protocol that the client broke
	Unacknowledged []string            // the desired properties whose newest value is not acknowledged at the end
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
	Way  scenario.Way // its effect on the client's way into the cloud
}

// A Call is a direct method or a command that was sent.
type Call struct {
	Verb scenario.Verb
	Err  error // why there is no answer
}

// Usage is what a client has used, and how it ended.
type Usage struct {
	Died    string        // how it ended, if that was before Stop or not in time; otherwise empty
	CPU     time.Duration // 0 means unknown
	Memory  int64         // the maximum of the resident memory, in bytes; 0 means unknown
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
