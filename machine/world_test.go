package machine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// A world is a cloud and one device in it, over sockets or, in a bubble, over memory.
type world struct {
	t       *testing.T
	cloud   *emulator.Cloud
	network *memnet.Network // nil over sockets
	device  *machine.Device
	ran     chan error

	mu      sync.Mutex
	records []machine.Record
	news    chan struct{} // has a value when records came
	taken   []string
}

const deviceID = "dev1"

// newWorld starts a cloud and prepares a device; live starts the device. change may adjust its settings.
func newWorld(t *testing.T, inMemory bool, config emulator.Config, change func(*machine.Settings)) *world {
	t.Helper()
	w := &world{t: t, ran: make(chan error, 1), news: make(chan struct{}, 1)}
	if config.RetryAfter == 0 {
		config.RetryAfter = time.Second
	}
	if inMemory {
		w.network = memnet.New()
		config.Listen = w.network.Listen
	}
	config.Observe = withoutNotes(t, config.Observe)
	w.cloud = emulator.ForTest(t, config)
	w.device = w.newDevice(change)
	t.Cleanup(w.tell)
	t.Cleanup(w.wantNoStorm)
	return w
}

// withoutNotes wants that the device does nothing that the cloud accepts only with a note. What tests
// send, and the values of reported properties, are not the device's.
func withoutNotes(t *testing.T, observe func(emulator.Event)) func(emulator.Event) {
	return func(e emulator.Event) {
		ofTest := strings.HasPrefix(e.Text, e.Device+" was ") || strings.Contains(e.Text, " reported properties with ")
		if e.Kind == emulator.KindNote && !ofTest {
			t.Errorf("the cloud made a note: %s", e.Text)
		}
		if observe != nil {
			observe(e)
		}
	}
}

// tell prints the story of a test that failed.
func (w *world) tell() {
	if !w.t.Failed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		if r.Kind != observe.Accepted && r.Kind != observe.Delivered {
			w.t.Logf("%s %s %s", r.Time.Format("15:04:05.000"), r.Message, r.Error)
		}
	}
}

// wantNoStorm wants that the device never made more connections within a minute than its policy allows.
func (w *world) wantNoStorm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	policy, attempts := machine.Policy{}.WithDefaults(), map[string][]time.Time{} // by host
	for _, r := range w.records {
		most, host := policy.HubRate, r.Hub
		if r.To == string(machine.Provisioning) {
			most, host = policy.DPSRate, "DPS"
		}
		if r.Kind != observe.Transition || host != "DPS" && r.To != string(machine.Connecting) {
			continue
		}
		all := append(attempts[host], r.Time)
		attempts[host] = all
		if n := len(all); n > most && all[n-1].Sub(all[n-1-most]) < time.Minute {
			w.t.Errorf("more than %d connections to %s in the minute before %v", most, host, r.Time)
			return
		}
	}
}

// again is another device with the same identity in the same cloud.
func (w *world) again(change func(*machine.Settings)) *world {
	w.t.Helper()
	other := &world{t: w.t, cloud: w.cloud, network: w.network, ran: make(chan error, 1), news: make(chan struct{}, 1)}
	other.device = other.newDevice(change)
	return other
}

func (w *world) newDevice(change func(*machine.Settings)) *machine.Device {
	w.t.Helper()
	device, err := machine.New(w.settings(change))
	if err != nil {
		w.t.Fatal(err)
	}
	return device
}

// settings are those of the device. Without a state directory it keeps everything in memory.
func (w *world) settings(change func(*machine.Settings)) machine.Settings {
	s := machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: w.cloud.DPSHost(), IDScope: emulator.DevelopmentIDScope, RegistrationID: deviceID,
			Key: machine.GroupKey(emulator.DevelopmentGroupKey, deviceID), ModelID: "dtmi:Sample:Failover;1",
		},
		Delivery:  machine.Delivery{Unpaced: true},
		Link:      machine.Link{RootCAs: w.cloud.CAPool},
		Observers: []func(machine.Record){w.observe},
	}
	if w.network != nil {
		s.Link.Dial = w.network.DialContext
	}
	if change != nil {
		change(&s)
	}
	s.Storage.InMemory = s.Storage.InMemory || s.Storage.StateDir == ""
	return s
}

// live starts the device and closes it at the end of the test.
func (w *world) live() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { w.ran <- w.device.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		err := <-w.ran
		w.ran <- err
	})
}

// close closes the device and returns what Run returned.
func (w *world) close() error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.device.Close(ctx); err != nil {
		w.t.Error(err)
	}
	err := <-w.ran
	w.ran <- err
	return err
}

func (w *world) observe(r machine.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, r)
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// await waits until a record of at least index from makes ok true, and returns its index.
func (w *world) await(what string, from int, ok func(machine.Record) bool) int {
	w.t.Helper()
	patience := time.NewTimer(w.patience())
	defer patience.Stop()
	for {
		w.mu.Lock()
		i := -1
		if from <= len(w.records) {
			i = slices.IndexFunc(w.records[from:], ok)
		}
		w.mu.Unlock()
		if i >= 0 {
			return from + i
		}
		select {
		case <-w.news:
		case <-patience.C:
			w.t.Fatalf("waited in vain for %s; the path so far: %s", what, strings.Join(w.path(0), " "))
		}
	}
}

// patience is far above what any recovery takes: two back-offs of a minute at most.
func (w *world) patience() time.Duration {
	if w.network != nil {
		return 10 * time.Minute
	}
	return 3 * time.Minute
}

func (w *world) awaitState(s machine.State, from int) int {
	w.t.Helper()
	return w.await(string(s), from, func(r machine.Record) bool {
		return r.Kind == observe.Transition && r.To == string(s)
	})
}

// path is the states entered since record from.
func (w *world) path(from int) (states []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records[from:] {
		if r.Kind == observe.Transition {
			states = append(states, r.To)
		}
	}
	return states
}

func (w *world) wantPath(from int, want ...machine.State) {
	w.t.Helper()
	got := w.path(from)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("the path was %v, want %v", got, want)
	}
}

// send sends one reading.
func (w *world) send() { w.t.Helper(); w.sendWith(nil) }

func (w *world) sendWith(properties map[string]string) {
	w.t.Helper()
	id, err := w.device.Send(context.Background(),
		machine.Reading{Body: []byte(`{"temp":21.5}`), Properties: properties})
	if err != nil {
		w.t.Errorf("send: %v", err)
		return
	}
	w.mu.Lock()
	w.taken = append(w.taken, id.String())
	w.mu.Unlock()
}

// sending sends a reading at each interval until the returned function is called, which waits for the last.
func (w *world) sending(every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	sending.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.send()
			case <-ctx.Done():
				return
			}
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); sending.Wait() }) }
	w.t.Cleanup(stop)
	return stop
}

// wantNothingLost compares what the device took with what the cloud's ledger has, and returns the duplicates.
func (w *world) wantNothingLost() int {
	w.t.Helper()
	got := map[string]int{}
	for _, d := range w.cloud.Ledger() {
		got[d.MessageID]++
	}
	duplicates := 0
	for _, id := range w.taken {
		if got[id] == 0 {
			w.t.Errorf("%s was taken and not delivered", id)
		}
		duplicates += max(0, got[id]-1)
		delete(got, id)
	}
	for id := range got {
		w.t.Errorf("%s was delivered and not taken", id)
	}
	if v := w.cloud.Violations(); len(v) > 0 {
		w.t.Errorf("the device broke the hub's rules: %q", v)
	}
	return duplicates
}

// strike has a fault begin.
func (w *world) strike(on string, fault emulator.Fault, p emulator.Params) {
	w.t.Helper()
	if err := w.cloud.Inject(on, fault, p); err != nil {
		w.t.Fatal(err)
	}
}
