package machine_test

import (
	"flag"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

var runs = flag.Int("runs", 1, "how often the failovers over real sockets are run, each in a fresh cloud")

var soak = flag.Bool("soak", false, "run what takes long for as long as docs/testing.md says")

// scaled is how often something is repeated: many times with -soak.
func scaled(few, many int) int {
	if *soak {
		return many
	}
	return few
}

// An attack is a way in which hub A can be lost, with what the device then goes through.
type attack struct {
	do   func(*emulator.Cloud) error
	path []machine.State
}

var attacks = map[string]attack{
	"killed by FIN": {killed(emulator.FIN), fromADeadHub},
	"killed by RST": {killed(emulator.RST), fromADeadHub},
	"refusing":      {killed(emulator.Refuse), fromADeadHub},
	"device moved":  {func(c *emulator.Cloud) error { return c.MoveDevice(deviceID, "B") }, fromAHubThatRefuses},
}

func killed(how emulator.Fault) func(*emulator.Cloud) error {
	return func(c *emulator.Cloud) error { return c.KillHub("A", how, emulator.WithMove) }
}

// The paths from one hub to the other: the same hub once, or twice if it refuses the token, then DPS.
var (
	fromADeadHub = []machine.State{
		machine.Failover, machine.Connecting, machine.Failover, machine.Provisioning, machine.Connecting,
		machine.Connected,
	}
	fromAHubThatRefuses = append([]machine.State{machine.Failover, machine.Connecting}, fromADeadHub...)
)

func TestTheDeviceFailsOverAndBackWithinItsTimeAndLosesNothing(t *testing.T) {
	slow.Test(t)
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			for range *runs {
				failOverAndBack(t, false, attack)
			}
		})
	}
}

func TestTheDeviceFailsOverAndBackInABubble(t *testing.T) {
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failOverAndBack(t, true, attack) })
		})
	}
}

// within is a second of DPS's retry-after and what the rest may take.
const within = 1300 * time.Millisecond

func failOverAndBack(t *testing.T, inMemory bool, attack attack) {
	w := newWorld(t, inMemory, emulator.Config{AnswerDelay: emulator.NoAnswerDelay}, nil)
	w.live()
	stop := w.sending(100 * time.Millisecond)
	w.delivered("A", w.awaitState(machine.Connected, 0))
	w.wantPath(0, machine.Provisioning, machine.Connecting, machine.Connected)

	from := w.count()
	struck := time.Now()
	if err := attack.do(w.cloud); err != nil {
		t.Fatal(err)
	}
	w.delivered("B", from)
	over := time.Since(struck)
	if over > within {
		t.Errorf("the next reading at hub B came after %v", over)
	}
	w.wantPath(from, attack.path...)
	w.wantOutcome(from, observe.FailedOver, "A", "B")

	from = w.count()
	struck = time.Now()
	if err := w.cloud.ReviveHub("A"); err != nil {
		t.Fatal(err)
	}
	if err := w.cloud.MoveDevices("B", "A"); err != nil {
		t.Fatal(err)
	}
	w.delivered("A", from)
	back := time.Since(struck)
	if back > within {
		t.Errorf("the next reading at hub A came after %v", back)
	}
	w.wantPath(from, fromAHubThatRefuses...)
	w.wantOutcome(from, observe.FailedBack, "B", "A")

	stop()
	if err := w.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	t.Logf("over in %v, back in %v, %d readings, %d duplicates", over, back, len(w.taken), w.wantNothingLost())
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.records)
}

// delivered waits until a hub has acknowledged a reading after record from.
func (w *world) delivered(hub string, from int) int {
	w.t.Helper()
	return w.await("a reading at hub "+hub, from, func(r machine.Record) bool {
		return r.Kind == observe.Delivered && r.Hub == w.cloud.Hub(hub)
	})
}

func (w *world) wantOutcome(from int, outcome, fromHub, toHub string) {
	w.t.Helper()
	i := w.await("an outcome", from, func(r machine.Record) bool { return r.Kind == observe.Outcome })
	w.mu.Lock()
	r := w.records[i]
	w.mu.Unlock()
	if r.Outcome != outcome || r.FromHub != w.cloud.Hub(fromHub) || r.Hub != w.cloud.Hub(toHub) || r.SpentMS <= 0 {
		w.t.Errorf("the outcome was %+v, want %s from %s to %s", r, outcome, fromHub, toHub)
	}
}
