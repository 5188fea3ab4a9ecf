package machine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// A wall clock that can be set, over the monotonic one that cannot.
type wallClock struct{ offset atomic.Int64 }

func (c *wallClock) now() time.Time       { return time.Now().Round(0).Add(time.Duration(c.offset.Load())) }
func (c *wallClock) jump(d time.Duration) { c.offset.Add(int64(d)) }

func TestAMachineThatSleptRenewsItsTokenOnceWhenItWakes(t *testing.T) {
	var wall wallClock
	bubble(t, func(s *machine.Settings) { s.Link.Now = wall.now }, func(t *testing.T, w *world) {
		w.connected()
		time.Sleep(10 * time.Minute) // more than a tenth of the token's life
		from := w.count()
		wall.jump(8 * time.Hour)
		time.Sleep(6 * time.Second)
		w.wantPath(from, machine.Connecting, machine.Connected)
		time.Sleep(10 * time.Minute)
		w.wantPath(from, machine.Connecting, machine.Connected)
	})
}

func TestAWallClockThatIsSetAgainAndAgainCausesFewRenewals(t *testing.T) {
	var wall wallClock
	bubble(t, func(s *machine.Settings) { s.Link.Now = wall.now }, func(t *testing.T, w *world) {
		w.connected()
		from := w.count()
		for range 360 {
			wall.jump(2 * time.Hour)
			time.Sleep(10 * time.Second)
		}
		if n := w.cloud.Connects(deviceID, "A"); n > 11 { // an hour is ten tenths of a token's life
			t.Errorf("%d connects in an hour", n)
		}
		for _, s := range w.path(from) {
			if s == string(machine.Failover) {
				t.Errorf("a renewal is no fault: %v", w.path(from))
				break
			}
		}
	})
}

// A token of 20 s and 50 readings a second, for three minutes; with -soak for an hour.
func TestRenewalsUnderLoadLoseNothingAndAreNoFault(t *testing.T) {
	duration := 3 * time.Minute
	if *soak {
		duration = time.Hour
	}
	bubble(t, func(s *machine.Settings) { s.Timing.TokenLife = 20 * time.Second }, func(t *testing.T, w *world) {
		w.connected()
		from := w.count()
		stop := w.sending(20 * time.Millisecond)
		time.Sleep(duration)
		stop()
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
		for _, s := range w.path(from) {
			if s == string(machine.Failover) {
				t.Fatal("an unplanned disconnect")
			}
		}
	})
}

func TestAFightOverTheIdentityIsNamedAndFollowedByLongBackOffs(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		other := w.again(nil)
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- other.device.Run(ctx) }()
		w.await("a warning", 0, func(r machine.Record) bool {
			return r.Kind == observe.Warning && strings.Contains(r.Error, "second process")
		})
		before := w.cloud.Connects(deviceID, "A")
		time.Sleep(time.Hour)
		if n := w.cloud.Connects(deviceID, "A") - before; n > 120 {
			t.Errorf("%d connects in an hour of fighting", n)
		}
		cancel()
		<-ran
		time.Sleep(20 * time.Minute)
		if s := w.device.State(); s != machine.Connected {
			t.Errorf("the other one has gone, and the device is %s", s)
		}
	})
}

// One connection in fifty fails, and a round trip takes 150 ms: that is a slow network and no fault.
func TestADayOnASlowNetworkHasNoFalseAlarm(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.network.SetLatency(75 * time.Millisecond)
		for _, on := range []string{emulator.TargetDPS, "A", "B"} {
			if err := w.cloud.Inject(on, emulator.Flaky, emulator.Params{Probability: 0.02}); err != nil {
				t.Fatal(err)
			}
		}
		w.live()
		from := w.awaitState(machine.Connected, 0)
		stop := w.sending(10 * time.Second)
		time.Sleep(24 * time.Hour)
		stop()
		w.mu.Lock()
		for _, r := range w.records[from:] {
			if r.Kind == observe.Transition && r.Event == string(machine.Lost) {
				t.Errorf("a false alarm: %+v", r)
			}
		}
		w.mu.Unlock()
		from = w.count()
		w.send()
		w.delivered("A", from) // after the renewal, if the device renews its token at this moment
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
	})
}
