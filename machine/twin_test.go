package machine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

func TestAPatchThatComesTwiceIsHandledOnceAndAGapIsReadAgain(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		reads := func() (n int) {
			synctest.Wait()
			for _, what := range w.cloudly.all() {
				if strings.HasSuffix(what, " read") {
					n++
				}
			}
			return n
		}
		w.connected()
		w.strike(emulator.DuplicateDesired, emulator.Params{Count: 1})
		w.set(`{"a":1}`)
		w.wantHandled("a=1")
		if n := reads(); n != 1 {
			t.Errorf("%d reads, want one, at the start", n)
		}
		w.strike(emulator.DesiredGap, emulator.Params{Count: 2})
		w.set(`{"b":1}`)
		w.set(`{"c":1,"a":2}`)
		w.wantHandled("a=1")
		w.set(`{"d":1}`)
		w.wantHandled("a=1", "a=2", "b=1", "c=1", "d=1")
		if n := reads(); n != 2 {
			t.Errorf("%d reads, want one more", n)
		}
		w.wantReported(`{"a":{"ac":200,"av":5,"value":2},"b":{"ac":200,"av":5,"value":1},"c":{"ac":200,"av":5,` +
			`"value":1},"d":{"ac":200,"av":5,"value":1}}`)
	})
}

// Requests travel at QoS 0 and may vanish, whatever they are.
func TestATwinRequestThatVanishesIsSentAgain(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.cloud.Enroll(deviceID, "")
		w.set(`{"a":1}`)
		w.strike(emulator.TwinMute, emulator.Params{Count: 3})
		w.report(`{"battery":80}`)
		w.live()
		w.awaitState(machine.Connected, 0)
		time.Sleep(time.Minute)
		w.wantHandled("a=1")
		w.wantReported(`{"a":{"ac":200,"av":2,"value":1},"battery":80}`)
		w.await("a warning", 0, func(r machine.Record) bool {
			return r.Kind == observe.Warning && strings.Contains(r.Error, "no answer in time")
		})
	})
}
