package machine_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

var (
	recoveries = flag.Int("recoveries", 5, "how often each recovery of the table is measured in fake time")
	overTCP    = flag.Int("over-tcp", 0, "how often each recovery of the table with an outage of up to a minute is "+
		"measured over sockets")
)

// registering is DPS's retry-after, and with it how long a registration takes.
const registering = time.Second

// A comeback is a way in which a device loses its hub and gets it, or another one, back.
type comeback struct {
	name string
	// play does the harm, and returns when the way to a hub is open again. The device has been connected for a random
	// time of up to 20 s.
	play func(w *world, r *rand.Rand)
	most time.Duration // from then until a reading is acknowledged
	long bool          // whether it takes longer than a minute, so that it is not measured over sockets
}

// recoveriesTable has the bounds of docs/recovery.md.
var recoveriesTable = []comeback{
	{"the hub dies, and the device is moved", hubDies(emulator.RST), registering + 100*time.Millisecond, false},
	{
		"the device is moved", func(w *world, _ *rand.Rand) { w.move("B") },
		registering + 100*time.Millisecond, false,
	},
	{"the hub falls silent, and the device is moved", hubDies(emulator.BlackHole), 15300 * time.Millisecond, false},
	{"the device is moved to and fro, six times in 24 s", movedToAndFro, registering + 200*time.Millisecond, false},
	{"the hub dies, and the device is moved a minute later", movedLater(time.Minute), 13 * time.Second, true},
	{"the hub dies, and the device is moved an hour later", movedLater(time.Hour), 61 * time.Second, true},
	{"the hub dies while DPS is down for 20 s", dpsFails(emulator.FIN, 0), 5 * time.Second, false},
	{"the hub dies while DPS answers 500 for 20 s", dpsFails(emulator.DPSUnavailable, 0), 5 * time.Second, false},
	{"the hub dies while DPS answers 429 for 20 s", dpsFails(emulator.DPSThrottles, 0), 7 * time.Second, false},
	{
		"the hub dies while DPS answers 429 and retry-after 7 s, for 20 s",
		dpsFails(emulator.DPSThrottles, 7*time.Second),
		7*time.Second + registering + 100*time.Millisecond, false,
	},
	{"both hubs are down for 40 s", hubsAway(40 * time.Second), 9 * time.Second, false},
	{"the hub is away for 3 s", hubsAway(3 * time.Second), 2 * time.Second, false},
	{"the hub ends each session after 3 s, for 30 s", flaps, 6 * time.Second, false},
	{"the hub drops the device, and refuses its token once", refusesOnce, 200 * time.Millisecond, false},
	{"nothing can be reached for 1 s", noWayFor(time.Second), 2 * time.Second, false},
	{"nothing can be reached for a minute", noWayFor(time.Minute), 13 * time.Second, false},
	{"nothing can be reached for an hour", noWayFor(time.Hour), 61 * time.Second, true},
	{"nothing can be reached for three days", noWayFor(72 * time.Hour), 61 * time.Second, true},
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) move(hub string) { w.t.Helper(); w.must(w.cloud.MoveDevice(deviceID, hub)) }

func hubDies(how emulator.Fault) func(*world, *rand.Rand) {
	return func(w *world, _ *rand.Rand) { w.must(w.cloud.KillHub("A", how, emulator.WithMove)) }
}

func movedToAndFro(w *world, _ *rand.Rand) {
	for i := range 5 {
		from := w.count()
		w.move([]string{"B", "A"}[i%2])
		moved := time.Now()
		time.Sleep(4 * time.Second)
		w.deliveredAfter(moved, from, registering+200*time.Millisecond)
	}
	w.move("A")
}

func movedLater(after time.Duration) func(*world, *rand.Rand) {
	return func(w *world, _ *rand.Rand) {
		w.must(w.cloud.KillHub("A", emulator.RST))
		time.Sleep(after)
		w.move("B")
	}
}

func dpsFails(fault emulator.Fault, retryAfter time.Duration) func(*world, *rand.Rand) {
	return func(w *world, _ *rand.Rand) {
		w.must(w.cloud.Inject(emulator.TargetDPS, fault, emulator.Params{RetryAfter: retryAfter}))
		w.must(w.cloud.KillHub("A", emulator.RST, emulator.WithMove))
		time.Sleep(20 * time.Second)
		w.must(w.cloud.Clear(emulator.TargetDPS, fault))
	}
}

func hubsAway(d time.Duration) func(*world, *rand.Rand) {
	return func(w *world, _ *rand.Rand) {
		w.must(w.cloud.KillHub("A", emulator.RST))
		w.must(w.cloud.KillHub("B", emulator.RST))
		time.Sleep(d)
		w.must(w.cloud.ReviveHub("A"))
	}
}

func flaps(w *world, _ *rand.Rand) {
	w.must(w.cloud.Inject("A", emulator.Flapping, emulator.Params{Delay: 3 * time.Second}))
	time.Sleep(30 * time.Second)
	w.must(w.cloud.Clear("A", emulator.Flapping))
}

func refusesOnce(w *world, _ *rand.Rand) {
	from := w.count()
	w.must(w.cloud.Inject("A", emulator.Reject, emulator.Params{Count: 1}))
	w.must(w.cloud.Inject("A", emulator.Flapping, emulator.Params{}))
	w.await("the end of the session", from, func(r machine.Record) bool {
		return r.Kind == observe.Transition && r.Event == string(machine.Lost)
	})
	w.must(w.cloud.Clear("A", emulator.Flapping))
}

func noWayFor(d time.Duration) func(*world, *rand.Rand) {
	return func(w *world, r *rand.Rand) {
		targets := []string{emulator.TargetDPS, "A", "B"}
		for _, target := range targets {
			w.must(w.cloud.Inject(target, emulator.RST, emulator.Params{}))
		}
		time.Sleep(time.Duration((0.9 + 0.1*r.Float64()) * float64(d)))
		for _, target := range targets {
			w.must(w.cloud.Clear(target, emulator.RST))
		}
	}
}

// deliveredAfter wants a reading to be acknowledged within a time after the way is open, and returns how long it took.
func (w *world) deliveredAfter(open time.Time, from int, most time.Duration) time.Duration {
	w.t.Helper()
	i := w.await("a reading after the way was open", from, func(r machine.Record) bool {
		return r.Kind == observe.Delivered && !r.Time.Before(open)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	took := w.records[i].Time.Sub(open)
	if took > most {
		w.t.Errorf("a reading was acknowledged %v after the way was open, want %v", took, most)
	}
	return took
}

// measure lets a device go through a recovery, and wants that nothing is lost.
func (c comeback) measure(t *testing.T, w *world) (took time.Duration) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	every := 100 * time.Millisecond
	if c.long {
		every = 10 * time.Second // otherwise a million readings in three days
	}
	w.live()
	w.awaitState(machine.Connected, 0)
	stop := w.sending(every)
	w.delivered("A", 0)
	time.Sleep(time.Duration(r.Int64N(int64(20 * time.Second))))
	from := w.count()
	c.play(w, r)
	open := time.Now()
	if c.long {
		stop() // the next reading may come later than the connection
		w.send()
	}
	took = w.deliveredAfter(open, from, c.most)
	stop()
	if err := w.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	w.wantNothingLost()
	return took
}

// busiest returns the largest numbers of connections to a hub and to DPS within a minute.
func (w *world) busiest() (hub, dps int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	to := map[string][]time.Time{}
	for _, r := range w.records {
		if r.Kind == observe.Transition && r.To == string(machine.Connecting) {
			to[r.Hub] = append(to[r.Hub], r.Time)
		} else if r.Kind == observe.Transition && r.To == string(machine.Provisioning) {
			to["DPS"] = append(to["DPS"], r.Time)
		}
	}
	dps = busiestMinute(to["DPS"])
	delete(to, "DPS")
	for _, times := range to {
		hub = max(hub, busiestMinute(times))
	}
	return hub, dps
}

// A measurement is the times of many runs of one recovery.
type measurement struct {
	mu       sync.Mutex
	took     []time.Duration
	hub, dps int // largest numbers of connections within a minute
}

func (m *measurement) add(w *world, took time.Duration) {
	hub, dps := w.busiest()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took, m.hub, m.dps = append(m.took, took), max(m.hub, hub), max(m.dps, dps)
}

// String is a row of docs/recovery.md, without its first column.
func (m *measurement) String() string {
	slices.Sort(m.took)
	var row strings.Builder
	for _, share := range []float64{0, 0.5, 0.99, 1} {
		i := max(0, int(math.Ceil(share*float64(len(m.took))))-1)
		fmt.Fprintf(&row, " %.3f s |", m.took[i].Seconds())
	}
	fmt.Fprintf(&row, " %d | %d |", m.hub, m.dps)
	return row.String()
}

func TestTheDeviceIsBackSoonAfterTheWayIsOpen(t *testing.T) {
	slow.Test(t)
	for _, c := range recoveriesTable {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var m measurement
			for range *recoveries {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, true, emulator.Config{RetryAfter: registering}, nil)
					m.add(w, c.measure(t, w))
				})
			}
			t.Logf("| %s | %s |%s", c.name, c.most, &m)
		})
	}
}

func TestTheDeviceIsBackSoonOverSockets(t *testing.T) {
	if *overTCP == 0 {
		t.Skip("-over-tcp")
	}
	for _, c := range recoveriesTable {
		if c.long {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			var m measurement
			t.Run("runs", func(t *testing.T) {
				for i := range *overTCP {
					t.Run("", func(t *testing.T) {
						t.Parallel()
						// Below the ports that systems give away: another run's cloud may take one of those while
						// this cloud's DPS or hub is down.
						w := newWorld(t, false, emulator.Config{
							Port: 21_000 + 3*i, RetryAfter: registering, AnswerDelay: emulator.NoAnswerDelay,
						}, nil)
						m.add(w, c.measure(t, w))
					})
				}
			})
			t.Logf("| %s | %s |%s", c.name, c.most, &m)
		})
	}
}
