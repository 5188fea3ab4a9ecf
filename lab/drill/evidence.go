package drill

import (
	"slices"
	"sync"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// Evidence is what was seen of a client in a scenario, from outside. What a client says of itself is not among it.
type Evidence struct {
	Start, End time.Time     // of the scenario
	Stopped    time.Time     // when the client was told to end
	Interval   time.Duration // at which the client was told to take readings
	Numbers    Numbers

	Acts           []Act
	Deliveries     []emulator.Delivery // in the order of arrival
	Attempts       []time.Time         // to connect, successful or not, to a hub or to DPS
	Breaches       []string            // rules of the wire that the client broke
	Unacknowledged []string            // desired properties whose newest value has no answer at the end
	Calls          []Call
	Process        Usage
	Events         []emulator.Event
}

// withoutWills leaves out what a hub has stored because the client was gone.
func (e *Evidence) withoutWills() *Evidence {
	readings := *e
	readings.Deliveries = slices.DeleteFunc(slices.Clone(e.Deliveries), func(d emulator.Delivery) bool {
		return d.Properties["iothub-MessageType"] == "Will"
	})
	return &readings
}

// An Act is something that was done to the cloud.
type Act struct {
	At   time.Time
	Text string
	Way  scenario.Way // what it did to the client's way into the cloud
}

// A Call is a direct method or a command that was sent.
type Call struct {
	Verb scenario.Verb
	Err  error // it was not answered
}

// Usage is what a client has cost, and how it ended.
type Usage struct {
	Died    string        // why it ended before it was told to, or did not end well; "" if it did
	CPU     time.Duration // 0: unknown
	Memory  int64         // the most that was resident, in bytes; 0: unknown
	Elapsed time.Duration
}

// A recorder keeps what the cloud tells.
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
