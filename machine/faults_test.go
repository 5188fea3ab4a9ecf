package machine_test

import (
	"errors"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// A reading that ends each session it is sent on is quarantined, and no other; the rest arrive.
func TestAReadingThatEndsEverySessionIsQuarantinedAndTheOthersAreDelivered(t *testing.T) {
	for _, every := range []time.Duration{100 * time.Millisecond, 10 * time.Second} {
		bubble(t, nil, func(t *testing.T, w *world) {
			w.connected()
			for _, hub := range []string{"A", "B"} {
				if err := w.cloud.Inject(hub, emulator.Poison, emulator.Params{Mark: "poison=yes"}); err != nil {
					t.Fatal(err)
				}
			}
			stop := w.sending(every)
			id, err := w.device.Send(t.Context(),
				machine.Reading{Body: []byte("1"), Properties: map[string]string{"poison": "yes"}})
			if err != nil {
				t.Fatal(err)
			}
			i := w.await("a quarantine", 0, func(r machine.Record) bool { return r.Kind == observe.Dropped })
			w.mu.Lock()
			if r := w.records[i]; r.ID != id.String() || r.Cause != "quarantined" {
				t.Errorf("dropped %+v", r)
			}
			w.mu.Unlock()
			time.Sleep(time.Minute)
			stop()
			var lost *machine.LostError
			if err := w.close(); !errors.As(err, &lost) || *lost != (machine.LostError{Dropped: 1}) {
				t.Errorf("close: %v", err)
			}
			w.wantNothingLost()
		})
	}
}

func TestAHubThatAcknowledgesNothingButAnswersPingsIsLeftAfterAMinute(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		time.Sleep(time.Minute)
		from := w.count()
		if err := w.cloud.Inject("A", emulator.NoPUBACK, emulator.Params{}); err != nil {
			t.Fatal(err)
		}
		w.send()
		sent := time.Now()
		i := w.awaitState(machine.Failover, from)
		w.mu.Lock()
		r := w.records[i]
		w.mu.Unlock()
		if took := r.Time.Sub(sent); r.Cause != "ack-overdue" || took != time.Minute {
			t.Errorf("left after %v: %+v", took, r)
		}
		w.cloud.Clear("A", "")
		w.delivered("A", i)
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
	})
}

// A hub that throttles answers late, and still answers pings: that is no fault.
func TestLateAcknowledgementsEndNoSession(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		if err := w.cloud.Inject("A", emulator.LatePUBACK, emulator.Params{Delay: 30 * time.Second}); err != nil {
			t.Fatal(err)
		}
		stop := w.sending(time.Second)
		time.Sleep(10 * time.Minute)
		stop()
		w.cloud.Clear("A", "")
		w.wantPath(0, machine.Provisioning, machine.Connecting, machine.Connected)
		time.Sleep(time.Minute)
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
	})
}

// Half-open: noticed by silence within 12 s, then the same hub is tried once for 2 s, then DPS.
func TestAHalfOpenConnectionIsNoticedAndTheDeviceFailsOver(t *testing.T) {
	for _, how := range []emulator.Fault{emulator.Silence, emulator.BlackHole} {
		bubble(t, nil, func(t *testing.T, w *world) {
			w.connected()
			stop := w.sending(100 * time.Millisecond)
			time.Sleep(time.Minute)
			from := w.count()
			begin := time.Now()
			if err := w.cloud.KillHub("A", how, emulator.WithMove); err != nil {
				t.Fatal(err)
			}
			w.delivered("B", from)
			if took, most := time.Since(begin),
				12*time.Second+2*time.Second+time.Second+300*time.Millisecond; took > most {
				t.Errorf("%s: the next reading at hub B came after %v", how, took)
			}
			w.wantPath(from, fromADeadHub...)
			stop()
			if err := w.close(); err != nil {
				t.Error(err)
			}
			w.wantNothingLost()
		})
	}
}

// Each session lasts longer than Policy.Hold and shorter than Delivery.AckTimeout.
func TestAHubThatAcknowledgesNothingAndEndsItsSessionsIsLeft(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		w.must(w.cloud.Inject("A", emulator.NoPUBACK, emulator.Params{}))
		w.must(w.cloud.Inject("A", emulator.Flapping, emulator.Params{Delay: 25 * time.Second}))
		stop := w.sending(time.Second)
		time.Sleep(30 * time.Second)
		from := w.count()
		w.awaitState(machine.Provisioning, from)
		w.mu.Lock()
		for _, r := range w.records[from:] {
			if r.Kind == observe.Outcome {
				t.Errorf("%s, although nothing was acknowledged", r.Message)
			}
		}
		w.mu.Unlock()
		w.must(w.cloud.Clear("A", ""))
		w.delivered("A", from)
		stop()
		w.must(w.close())
		w.wantNothingLost()
	})
}
