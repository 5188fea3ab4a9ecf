package emulator_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// targetsOf returns a target of each kind that the fault can be injected into.
func targetsOf(f emulator.FaultInfo) (targets []string) {
	for _, kind := range f.Targets {
		targets = append(targets,
			map[string]string{emulator.TargetDPS: "DPS", emulator.TargetHub: "A", emulator.TargetDevice: device}[kind])
	}
	return targets
}

func TestEveryFaultIsInjectedAndClearedOnSockets(t *testing.T) {
	for _, f := range emulator.Faults() {
		if f.Name == emulator.BlackHole && runtime.GOOS != "linux" {
			continue
		}
		t.Run(string(f.Name), func(t *testing.T) {
			t.Parallel()
			onSockets(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A"})
				for _, target := range targetsOf(f) {
					w.mustInject(target, f.Name, allParams(t, f))
				}
				p.Publish(events, 1, false, "on a bad day")
				for _, target := range targetsOf(f) {
					w.mustClear(target, f.Name)
				}
				w.mustConnect(login{})
				w.mustConnect(login{hub: w.HubOf(device)}).mustPublish(events, "well again")
				w.wantNoViolation()
			})
		})
	}
}

func TestEveryFaultAtOnceLeavesNothingBehindAfterClose(t *testing.T) {
	var emitted atomic.Int64
	observe := func(emulator.Event) { emitted.Add(1) }
	inBubble(t, emulator.Config{Observe: observe}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", manualAck: true})
		p.mustSubscribe(bound+"#", "$iothub/twin/res/#")
		w.mustSend("1")
		for _, f := range emulator.Faults() {
			for _, target := range targetsOf(f) {
				params := allParams(t, f)
				params.For = time.Hour
				w.mustInject(target, f.Name, params)
				p.Publish(events, 1, false, "x")
				w.connect(login{hub: "A"})
			}
		}
		w.Close()
		synctest.Wait()
		before := emitted.Load()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if late := emitted.Load() - before; late > 0 {
			t.Errorf("%d events after Close", late)
		}
		p.mustLose(time.Second)
	})
}

func TestNothingIsStoredOrAcknowledgedDuringSilence(t *testing.T) {
	for _, how := range []emulator.Fault{emulator.Silence, emulator.BlackHole} {
		t.Run(string(how), func(t *testing.T) {
			onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
				if w.network == nil && how == emulator.BlackHole && runtime.GOOS != "linux" {
					t.Skip("no black hole here")
				}
				p := w.mustConnect(login{hub: "A"})
				acknowledged := streaming(p)
				if err := w.Wait(t.Context(), func() bool { return len(w.Ledger()) > 500 }); err != nil {
					t.Fatal(err)
				}
				w.mustInject("A", how, emulator.Params{})
				stored := w.Ledger()
				time.Sleep(100 * time.Millisecond)
				for _, id := range acknowledged() {
					if !slices.ContainsFunc(stored, func(d emulator.Delivery) bool { return d.MessageID == id }) {
						t.Errorf("%s was acknowledged and not stored", id)
					}
				}
				if late := len(w.Ledger()) - len(stored); late > 0 {
					t.Errorf("%d messages were stored afterwards", late)
				}
			})
		})
	}
}

func TestRunsWithTheSameSeedAreTheSame(t *testing.T) {
	var runs [2][]string
	for run := range runs {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			p := w.mustConnect(login{hub: "A"})
			w.mustInject("A", emulator.NoPUBACK, emulator.Params{Probability: 0.5})
			w.mustInject("A", emulator.Slow, emulator.Params{Jitter: time.Second})
			for i := range 20 {
				start := time.Now()
				done := p.Publish(fmt.Sprintf("%s$.mid=%d", events, i), 1, false, "x").WaitTimeout(10 * time.Second)
				runs[run] = append(runs[run], fmt.Sprint(done, time.Since(start)))
			}
		})
	}
	if !slices.Equal(runs[0], runs[1]) {
		t.Errorf("one run went %q\nthe other    %q", runs[0], runs[1])
	}
}
