package machine_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

// A badDay is a fault, what it strikes and the state in which it does. Without a fault it is a good day.
type badDay struct {
	fault emulator.FaultInfo
	on    string
	in    machine.State
}

const (
	struckFor = 2*time.Minute + 250*time.Millisecond // so that it ends between two attempts and not along with one
	recovery  = 5 * time.Minute                      // the longest rest that two minutes lead to is three
	inClosing = 5                                    // readings that wait when closing begins

	poisonAfter = 5*time.Second + 50*time.Millisecond
)

// parameters are those without which a fault means little.
var parameters = map[emulator.Fault]emulator.Params{
	emulator.LatePUBACK: {Delay: 3 * time.Second},
	emulator.Slow:       {Delay: 75 * time.Millisecond, Jitter: 50 * time.Millisecond},
	emulator.Poison:     {Mark: "poison=yes"},
	emulator.Skew:       {Delay: 2 * time.Hour},
	emulator.Flaky:      {Probability: 0.8},
	emulator.Flapping:   {Delay: 3 * time.Second},

	emulator.DPSMisdirects:  {Hub: "192.0.2.1:8883"},
	emulator.DPSLingers:     {Delay: 20 * time.Second},
	emulator.DPSLateAnswers: {Delay: 5 * time.Second},
}

// states are those in which a fault strikes.
var states = []machine.State{
	machine.Unprovisioned, machine.Provisioning, machine.Connecting, machine.Connected, machine.Failover,
	machine.Closing,
}

// A witness goes through a bad day with the device and writes down what it does.
type witness struct {
	*world
	badDay
	struck   chan struct{} // closed by the strike
	struckAt time.Time     // and the rest of that moment:
	firstOf  struct{ states, dials, registrations, connects int }

	// Guarded by world.mu.
	states   []visit
	dials    []call
	desired  errand         // desired properties
	counts   errand         // reported properties
	messages map[string]int // how often each that the cloud took was handled

	poisonous string // a reading's ID
}

type visit struct {
	state machine.State
	at    time.Time
}

type call struct {
	address string
	at      time.Time
}

// newWitness starts a cloud and prepares a device in it, which nothing but the bad day leaves to chance.
func newWitness(t *testing.T, day badDay, luck *rand.Rand) *witness {
	t.Helper()
	w := &witness{badDay: day, struck: make(chan struct{}), messages: map[string]int{}}
	config := emulator.Config{Rand: rand.New(rand.NewPCG(1, 2)), Observe: w.overhear}
	w.world = newWorld(t, true, config, func(s *machine.Settings) {
		s.Timing.ClockFloor = time.Unix(0, 0)
		s.Rand = func() float64 { return 0.5 }
		if luck != nil {
			s.Rand = luck.Float64
		}
		if day.fault.Name == emulator.NoGrace {
			s.Timing.TokenLife = time.Minute // so that some expire
		}
		s.Table = w.watch
		dial := s.Link.Dial
		s.Link.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			w.note(func() { w.dials = append(w.dials, call{address, time.Now()}) })
			return dial(ctx, network, address)
		}
		s.Handlers.Desired = func(
			_ context.Context, _ machine.PropertyName, value json.RawMessage,
		) (machine.PropertyAck, error) {
			var n int
			err := json.Unmarshal(value, &n)
			w.note(func() { w.desired.arrive(n) })
			return machine.PropertyAck{}, err
		}
		s.Handlers.Command = func(_ context.Context, m machine.Message) error {
			w.note(func() { w.messages[m.ID]++ })
			return nil
		}
	})
	// it has been here before, so it can be struck from the first moment on
	if err := w.cloud.Assign(deviceID, "A"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *witness) note(write func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	write()
}

// watch writes down each state that is entered, and strikes at the entry of the one in which the day is bad.
func (w *witness) watch(_ *machine.Device, t machine.Table) machine.Table {
	for _, state := range states {
		t = t.Wrap(state, func(do machine.Action) machine.Action {
			return func(ctx context.Context, c machine.Change) (machine.Event, error) {
				w.note(func() { w.states = append(w.states, visit{state, time.Now()}) })
				switch {
				case state != w.in, state == machine.Connected: // which is struck later
				case state == machine.Closing:
					w.injectInFlight()
				default:
					w.strike()
				}
				return do(ctx, c)
			}
		})
	}
	return t
}

// injectInFlight injects the fault while readings and a reported property are in flight, so that it does not depend
// on luck whether the device learns of it before it sends them.
func (w *witness) injectInFlight() {
	w.network.SetLatency(10 * time.Millisecond)
	for i := range inClosing {
		w.reading(i == inClosing/2)
	}
	w.report(1_000_000)
	time.AfterFunc(5*time.Millisecond, func() {
		w.strike()
		w.demand(1_000_000)
	})
}

// strike strikes, once.
func (w *witness) strike() {
	select {
	case <-w.struck:
		return
	default:
	}
	w.note(func() {
		w.struckAt = time.Now()
		w.firstOf.states, w.firstOf.dials = len(w.states)-1, len(w.dials)
	})
	w.firstOf.registrations, w.firstOf.connects = w.cloud.Registrations(deviceID), w.connects()
	if w.fault.Name != "" {
		target := map[string]string{emulator.TargetDPS: "DPS", emulator.TargetHub: w.cloud.HubOf(deviceID),
			emulator.TargetDevice: deviceID}[w.on]
		params := parameters[w.fault.Name]
		params.For = struckFor
		if err := w.cloud.Inject(target, w.fault.Name, params); err != nil {
			w.t.Error(err)
		}
	}
	close(w.struck)
}

// connects is how many CONNECTs the hubs have taken.
func (w *witness) connects() int {
	return w.cloud.Connects(deviceID, "A") + w.cloud.Connects(deviceID, "B")
}

// live goes through the day up to the moment at which the device is closed.
func (w *witness) live() {
	stop := w.work()
	w.world.live()
	switch w.in {
	case machine.Connected, machine.Failover, machine.Closing:
		w.awaitState(machine.Connected, 0)
		time.Sleep(30 * time.Second)
	}
	switch w.in {
	case machine.Connected:
		w.strike()
	case machine.Failover: // the other way in is a fault of its own
		if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
			w.t.Fatal(err)
		}
	case machine.Closing:
		stop()
		return
	}
	<-w.struck
	time.Sleep(poisonAfter)
	w.reading(true)
	time.Sleep(struckFor + recovery - poisonAfter)
	stop()
	time.Sleep(10 * time.Second) // for the last words
	synctest.Wait()
}
