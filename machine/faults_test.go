package machine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// parameters are those without which a fault means nothing.
var parameters = map[emulator.Fault]emulator.Params{
	emulator.LatePUBACK: {Delay: 5 * time.Second},
	emulator.Slow:       {Delay: 75 * time.Millisecond, Jitter: 50 * time.Millisecond},
	emulator.Poison:     {Mark: "poison=yes"},
	emulator.Skew:       {Delay: time.Hour},
	emulator.Flaky:      {Probability: 0.5},

	emulator.DPSMisdirects:  {Hub: "192.0.2.1:8883"},
	emulator.DPSLingers:     {Delay: 20 * time.Second},
	emulator.DPSLateAnswers: {Delay: 5 * time.Second},
}

// strikes are the moments at which a fault strikes, for two minutes.
var strikes = map[string]func(w *world, strike func()){
	"before the first connection": func(w *world, strike func()) {
		strike()
		w.live()
	},
	"while connected": func(w *world, strike func()) {
		w.connected()
		time.Sleep(30 * time.Second)
		strike()
	},
	"in a failover": func(w *world, strike func()) {
		w.connected()
		time.Sleep(30 * time.Second)
		w.cloud.KillHub("A", emulator.FIN, emulator.WithMove)
		strike()
	},
}

// Every fault of the emulator, at DPS or at both hubs, at each moment: the device lives, does not storm, and in the end every
// reading it took has been delivered.
func TestNoFaultAtNoMomentLosesAReading(t *testing.T) {
	for _, fault := range emulator.Faults() {
		for _, on := range fault.On {
			if on == emulator.OnDevice {
				continue // a hub's fault strikes its devices; those of a device alone are tested by name
			}
			for moment, play := range strikes {
				t.Run(fmt.Sprint(fault.Name, " on ", on, " ", moment), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { surviveFault(t, fault.Name, on, play) })
				})
			}
		}
	}
}

const struck = 2 * time.Minute

func surviveFault(t *testing.T, fault emulator.Fault, on string, play func(*world, func())) {
	w := newWorld(t, true, emulator.Config{}, func(s *machine.Settings) { s.Policy = machine.Policy{} })
	params := parameters[fault]
	params.For = struck
	targets := []string{on}
	if on == emulator.OnHub {
		targets = []string{"A", "B"}
	}
	stop := w.sending(time.Second)
	play(w, func() {
		for _, target := range targets {
			if err := w.cloud.Strike(target, fault, params); err != nil {
				t.Fatal(err)
			}
		}
	})
	from := w.count()
	time.Sleep(struck)
	if n := len(w.path(from)); n > 60 {
		t.Errorf("%d transitions in two minutes", n)
	}
	time.Sleep(5 * time.Minute) // the longest rest that two minutes of refusals lead to is four
	stop()
	if s := w.device.State(); s != machine.Connected {
		t.Errorf("five minutes after the fault the device is %s", s)
	}
	if err := w.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	w.wantNothingLost()
}

// A reading that ends each session it is sent on is quarantined, and no other; the rest arrive.
func TestAPoisonousReadingIsQuarantinedAndTheRestArrive(t *testing.T) {
	for _, every := range []time.Duration{100 * time.Millisecond, 10 * time.Second} {
		bubble(t, nil, func(t *testing.T, w *world) {
			w.connected()
			for _, hub := range []string{"A", "B"} {
				if err := w.cloud.Strike(hub, emulator.Poison, emulator.Params{Mark: "poison=yes"}); err != nil {
					t.Fatal(err)
				}
			}
			stop := w.sending(every)
			id, err := w.device.Send(t.Context(), machine.Reading{Body: []byte("1"), Properties: map[string]string{"poison": "yes"}})
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
		if err := w.cloud.Strike("A", emulator.NoPUBACK, emulator.Params{}); err != nil {
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
		w.cloud.Heal("A", "")
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
		if err := w.cloud.Strike("A", emulator.LatePUBACK, emulator.Params{Delay: 30 * time.Second}); err != nil {
			t.Fatal(err)
		}
		stop := w.sending(time.Second)
		time.Sleep(10 * time.Minute)
		stop()
		w.cloud.Heal("A", "")
		w.wantPath(0, machine.Provisioning, machine.Connecting, machine.Connected)
		time.Sleep(time.Minute)
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
	})
}

// Half-open: noticed by silence within 12 s, then the same hub is tried once for 2 s, then DPS.
func TestAHalfOpenLinkIsNoticedAndTheDeviceGoesOnAtTheOtherHub(t *testing.T) {
	for _, how := range []emulator.Kill{emulator.Silence, emulator.BlackHole} {
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
			if took, most := time.Since(begin), 12*time.Second+2*time.Second+time.Second+300*time.Millisecond; took > most {
				t.Errorf("%s: the next reading at hub B came after %v", how, took)
			}
			w.wantPath(from, overThere...)
			stop()
			if err := w.close(); err != nil {
				t.Error(err)
			}
			w.wantNothingLost()
		})
	}
}

// The matrix has a row for each fault there is.
func TestTheFaultsThatNeedParametersHaveThem(t *testing.T) {
	known := emulator.Faults()
	for name := range parameters {
		if !slices.ContainsFunc(known, func(f emulator.FaultInfo) bool { return f.Name == name }) || strings.TrimSpace(string(name)) == "" {
			t.Errorf("there is no fault %q any more", name)
		}
	}
}
