package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

// A twinWorld is a world that notes what its device's desired handler was given, and what the cloud says of its twin.
type twinWorld struct {
	*world
	handled journal
	cloudly journal // "<seconds since the start> <what>"
	begin   time.Time

	mu      sync.Mutex
	happens func(emulator.Event)
}

// slowly is how long the handler of "slow" takes.
const slowly = 20 * time.Second

// twinBubble is a bubble whose device accepts every desired property, but "broken" and, at more length, "huge".
func twinBubble(t *testing.T, test func(t *testing.T, w *twinWorld)) {
	t.Helper()
	twinBubbleWith(t, func(*machine.Settings) {}, test)
}

func twinBubbleWith(t *testing.T, change func(*machine.Settings), test func(t *testing.T, w *twinWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &twinWorld{begin: time.Now()}
		config := emulator.Config{Observe: func(e emulator.Event) {
			if e.Kind == emulator.KindTwin {
				w.cloudly.add(fmt.Sprintf("%.0f %s", e.Time.Sub(w.begin).Seconds(), e.Text))
			}
			w.mu.Lock()
			happens := w.happens
			w.mu.Unlock()
			if happens != nil {
				happens(e)
			}
		}}
		w.world = newWorld(t, true, config, func(s *machine.Settings) {
			s.Handlers.Desired = w.desired
			change(s)
		})
		test(t, w)
	})
}

// again is another device with the same identity in the same cloud.
func (w *twinWorld) again(change func(*machine.Settings)) *twinWorld {
	w.t.Helper()
	other := &twinWorld{begin: w.begin}
	other.world = w.world.again(func(s *machine.Settings) {
		s.Handlers.Desired = other.desired
		change(s)
	})
	return other
}

func (w *twinWorld) desired(
	_ context.Context, p machine.PropertyName, value json.RawMessage,
) (machine.PropertyAck, error) {
	w.handled.add(p.String() + "=" + string(value))
	switch p.Name {
	case "slow":
		time.Sleep(slowly)
	case "broken":
		return machine.PropertyAck{}, errors.New("no such fan")
	case "huge":
		return machine.PropertyAck{}, errors.New(strings.Repeat("no such fan ", 10_000))
	}
	return machine.PropertyAck{}, nil
}

// set sets desired values and returns the version that the twin then has.
func (w *twinWorld) set(desired string) int {
	w.t.Helper()
	var patch map[string]any
	decoder := json.NewDecoder(strings.NewReader(desired))
	decoder.UseNumber()
	err := decoder.Decode(&patch)
	if err == nil {
		err = w.cloud.SetDesired(deviceID, patch)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	_, _, version, _ := w.cloud.Twin(deviceID)
	return version
}

func (w *twinWorld) report(patch string) {
	w.t.Helper()
	var p map[string]any
	if err := json.Unmarshal([]byte(patch), &p); err != nil {
		w.t.Fatal(err)
	}
	if err := w.device.Report(w.t.Context(), p); err != nil {
		w.t.Error(err)
	}
}

func (w *twinWorld) wantHandled(want ...string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.handled.all(); !sameInAnyOrder(got, want) {
		w.t.Errorf("handled %v, want %v", got, want)
	}
}

func (w *twinWorld) wantReported(want string) {
	w.t.Helper()
	synctest.Wait()
	_, reported, _, _ := w.cloud.Twin(deviceID)
	if got, _ := json.Marshal(reported); string(got) != want {
		w.t.Errorf("reported\n%s, want\n%s", got, want)
	}
}

func (w *twinWorld) wantNoViolation() {
	w.t.Helper()
	if v := w.cloud.Violations(); len(v) > 0 {
		w.t.Errorf("the device broke the hub's rules: %q", v)
	}
}

// patches counts the reported patches that the cloud took meanwhile.
func (w *twinWorld) patches(meanwhile func()) int {
	_, _, _, before := w.cloud.Twin(deviceID)
	meanwhile()
	synctest.Wait()
	_, _, _, after := w.cloud.Twin(deviceID)
	return after - before
}

// moved kills hub A, does something during the outage, and awaits the device at hub B.
func (w *twinWorld) moved(meanwhile func()) {
	w.t.Helper()
	from := w.count()
	if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
		w.t.Fatal(err)
	}
	w.awaitState(machine.Failover, from)
	meanwhile()
	w.awaitState(machine.Connected, from)
	synctest.Wait()
}

func (w *twinWorld) strike(fault emulator.Fault, p emulator.Params) {
	w.t.Helper()
	if err := w.cloud.Inject(deviceID, fault, p); err != nil {
		w.t.Fatal(err)
	}
}
