package scenario_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/lab/scenario"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/sensor"
	"giantlizard.example/failover/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deviceID = "dev1"

// pace is the time between readings. No time of the device is a multiple of it, so no two things
// happen at the same time.
const pace = 1037 * time.Millisecond

// A trial runs a scenario with the device and its default settings.
type trial struct {
	t       *testing.T
	cloud   *emulator.Cloud
	device  *machine.Device
	sensor  sensor.Sensor
	arrived chan struct{} // closed when the cloud has the first reading

	mu         sync.Mutex
	begin      time.Time // of the scenario
	story      []moment
	happenings []scenario.Event
	taken      []string
	dials      []time.Time
}

// A moment is something that happened in the scenario, the cloud or the device.
type moment struct {
	at   time.Time
	text string
}

// try runs a scenario in a bubble. luck is the seed for everything random in the device and the
// cloud.
func try(t *testing.T, s scenario.Scenario, luck uint64) (v verdict) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, 1) // so that each run puts as many bytes on the wire
		network := memnet.New()
		network.SetLatency(7 * time.Millisecond) // so that few events have the same time, because their order is chance
		v = newTrial(t, network.Listen, network.DialContext, luck).run(s)
		if v.wantKept(t, s); t.Failed() {
			t.Logf("%s with luck %d:\n%s", s.Name, luck, v.story)
		}
	})
	return v
}

func newTrial(t *testing.T, listen func(string) (net.Listener, error), dial transport.DialFunc, luck uint64) *trial {
	t.Helper()
	w := &trial{t: t, arrived: make(chan struct{})}
	w.cloud = emulator.ForTest(t, emulator.Config{Listen: listen, Observe: w.overhear,
		Rand: rand.New(rand.NewPCG(luck, 1))})
	var err error
	w.device, err = machine.New(machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: w.cloud.DPSHost(), IDScope: w.cloud.IDScope(), RegistrationID: deviceID,
			ModelID: sensor.ModelID,
			Key:     machine.GroupKey(w.cloud.GroupKey(), deviceID),
		},
		Storage: machine.Storage{InMemory: true},
		Timing:  machine.Timing{ClockFloor: time.Unix(0, 0)},
		Link: machine.Link{RootCAs: w.cloud.CAPool,
			Dial: func(ctx context.Context, kind, address string) (net.Conn, error) {
				w.note(func() { w.dials = append(w.dials, time.Now()) })
				return dial(ctx, kind, address)
			}},
		Handlers: w.sensor.Handlers(), Observers: []func(machine.Record){w.observe},
		Rand: rand.New(rand.NewPCG(luck, 2)).Float64,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// run starts the device, runs the scenario once the cloud has the first reading, and closes the
// device.
func (w *trial) run(s scenario.Scenario) verdict {
	w.t.Helper()
	ran := make(chan error, 1)
	go func() { ran <- w.device.Run(context.Background()) }()
	stop := w.sending()
	<-w.arrived
	// so that no step is at the very instant of anything that the device does by itself
	time.Sleep(50 * time.Millisecond)
	w.note(func() { w.begin = time.Now() })
	if err := s.Run(w.t.Context(), w.cloud, deviceID, w.happen); err != nil {
		w.t.Error(err)
	}
	if active := w.cloud.ActiveFaults(); len(active) > 0 {
		w.t.Errorf("active at the end: %+v", active)
	}
	v := w.verdict(s)
	stop()
	if err := w.device.Close(context.Background()); err != nil {
		w.t.Error(err)
	}
	if err := <-ran; err != nil {
		w.t.Error(err)
	}
	w.cloud.Close()
	w.count(&v)
	v.story = w.text()
	return v
}

// sending sends readings until stop is called. stop waits for the last one.
func (w *trial) sending() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	sending.Go(func() {
		for ctx.Err() == nil {
			id, err := w.device.Send(context.Background(), machine.Reading{Body: []byte(`{"temp":21.5}`)})
			if err != nil {
				w.t.Errorf("send: %v", err)
			}
			w.note(func() { w.taken = append(w.taken, id.String()) })
			select {
			case <-time.After(pace):
			case <-ctx.Done():
			}
		}
	})
	return func() { cancel(); sending.Wait() }
}

func (w *trial) note(write func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	write()
}

// tell adds a line to the story.
func (w *trial) tell(at time.Time, format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	w.note(func() {
		if !w.begin.IsZero() {
			w.story = append(w.story, moment{at, text})
		}
	})
}

func (w *trial) happen(h scenario.Event) {
	w.note(func() { w.happenings = append(w.happenings, h) })
	w.tell(time.Now(), "scenario: %s %s", h, h.Way)
}

func (w *trial) overhear(e emulator.Event) {
	switch e.Kind {
	case emulator.KindTelemetry:
		select {
		case <-w.arrived:
		default:
			close(w.arrived)
		}
	case emulator.KindDisconnected:
		e.Text = "" // both sides close at one instant, and who was first is nobody's business
	}
	w.tell(e.Time, "cloud: %s %s %s", e.Hub, e.Kind, e.Text)
}

func (w *trial) observe(r machine.Record) { w.tell(r.Time, "device: %s %s", r.Message, r.Error) }

var epoch = regexp.MustCompile(`\b[0-9a-f]{8}-`)

// text returns the story. Within one instant the lines are sorted, because their order is random.
func (w *trial) text() string {
	slices.SortStableFunc(w.story, func(a, b moment) int {
		if n := a.at.Compare(b.at); n != 0 {
			return n
		}
		return strings.Compare(a.text, b.text)
	})
	var text strings.Builder
	for _, m := range w.story {
		fmt.Fprintf(&text, "%v %s\n", m.at.Sub(w.begin), epoch.ReplaceAllString(m.text, ""))
	}
	return text.String()
}
