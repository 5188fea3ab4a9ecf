package interop_test

import (
	"context"
	"flag"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

var outages = flag.Bool("outages", false, "measure what the SDK makes of outages, for 25 minutes")

// never marks an outage from which the SDK's device does not recover while it is watched.
const watched, never = 20 * time.Minute, 0

// We cannot change the SDK. This test records its behaviour and shows when it changes.
func TestSDKBehaviourInOutages(t *testing.T) {
	if !*outages {
		t.Skip("this takes 25 minutes: -outages")
	}
	for name, o := range map[string]outage{
		"A refuses with CONNACK 3, device moved": {dies(emulator.Refuse), "B", time.Second,
			10 * time.Second},
		"device moved: FIN, then CONNACK 5": {moved, "B", 4 * time.Minute, 5 * time.Minute},
		"A dies with FIN, device moved": {dies(emulator.FIN), "B", 4 * time.Minute,
			5 * time.Minute},
		"A dies with RST, device moved": {dies(emulator.RST), "B", 4 * time.Minute,
			5 * time.Minute},
		"A falls silent, device moved":            {dies(emulator.Silence), "B", never, never},
		"A falls into a black hole, device moved": {dies(emulator.BlackHole), "B", never, never},
		"A refuses with CONNACK 3, device moved, DPS off for 20 s": {withoutDPS(dies(emulator.Refuse)), "B",
			20 * time.Second, 40 * time.Second},
		"A is off with FIN for 20 s": {off(emulator.FIN, 20*time.Second), "A",
			20 * time.Second, 35 * time.Second},
		"A is off with FIN for 5 min": {off(emulator.FIN, 5*time.Minute), "A",
			5 * time.Minute, 6 * time.Minute},
		"A refuses with CONNACK 3 for 20 s": {off(emulator.Refuse, 20*time.Second), "A",
			20 * time.Second, 40 * time.Second},
		"A is silent for 20 s": {off(emulator.Silence, 20*time.Second), "A",
			20 * time.Second, 30 * time.Second},
		"A is silent for 5 min": {off(emulator.Silence, 5*time.Minute), "A",
			5 * time.Minute, 6 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.measure(t, name)
		})
	}
}

// An outage ends with a reading at the hub, between least and most after its begin.
type outage struct {
	begin       func(*emulator.Cloud) error
	hub         string
	least, most time.Duration
}

func dies(how emulator.Fault) func(*emulator.Cloud) error {
	return func(c *emulator.Cloud) error { return c.KillHub("A", how, emulator.WithMove) }
}

func off(how emulator.Fault, d time.Duration) func(*emulator.Cloud) error {
	return func(c *emulator.Cloud) error { return c.Inject("A", how, emulator.Params{For: d}) }
}

func moved(c *emulator.Cloud) error { return c.MoveDevice(deviceID, "B") }

func withoutDPS(begin func(*emulator.Cloud) error) func(*emulator.Cloud) error {
	return func(c *emulator.Cloud) error {
		if err := c.Inject(emulator.TargetDPS, emulator.FIN, emulator.Params{For: 20 * time.Second}); err != nil {
			return err
		}
		return begin(c)
	}
}

func (o outage) measure(t *testing.T, name string) {
	var refused atomic.Int32
	cloud := emulator.ForTest(t, emulator.Config{RetryAfter: time.Second, Observe: func(e emulator.Event) {
		if e.Kind == emulator.KindRefused && e.Hub == "A" && e.Device == deviceID {
			refused.Add(1)
		}
	}})
	w := world{cloud, start(t, cloud, time.Second)}
	w.until(t, "three readings", func() bool { return len(w.Ledger()) >= 3 })
	if err := o.begin(cloud); err != nil {
		t.Fatal(err)
	}
	begin, before, connects := time.Now(), len(w.Ledger()), w.Connects(deviceID, "A")

	ctx, cancel := context.WithTimeout(t.Context(), watched)
	defer cancel()
	err := w.Wait(ctx, func() bool { return w.here(before, o.hub) })
	took := time.Since(begin)
	if came := err == nil; came != (o.most != never) || came && (took < o.least || took > o.most) {
		t.Errorf("it took %v, and that used to be between %v and %v", took, o.least, o.most)
	}
	if err != nil {
		t.Logf("| %s | not within %v |", name, watched)
		return
	}
	settled := time.Now().Add(30 * time.Second)
	w.until(t, "readings half a minute later", func() bool {
		l := w.Ledger()
		return l[len(l)-1].Received.After(settled)
	})
	taken, missing, twice := w.balance(t)
	// The time is followed by: readings taken, missing, delivered twice; sessions after the outage,
	// refused logins; all registrations.
	t.Logf("| %s | %.1f s | %d | %d | %d | %d | %d | %d |", name, took.Seconds(), taken, missing, twice,
		w.Connects(deviceID, "A")+w.Connects(deviceID, "B")-connects, refused.Load(), w.Registrations(deviceID))
	w.device.stop(t)
}

// balance counts the readings up to the newest one that was delivered.
func (w world) balance(t *testing.T) (taken, missing, twice int) {
	t.Helper()
	arrived := map[int]bool{}
	for _, r := range w.Ledger() {
		_, number, _ := strings.Cut(r.MessageID, "-")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("a reading's ID is %q", r.MessageID)
		}
		if arrived[n] {
			twice++
		}
		arrived[n], taken = true, max(taken, n)
	}
	return taken, taken - len(arrived), twice
}
