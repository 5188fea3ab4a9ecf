package emulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// took returns the time after which a peer has one message more.
func (p *peer) took(do func()) time.Duration {
	p.Helper()
	start, before := time.Now(), len(p.messages())
	do()
	for len(p.messages()) == before {
		if time.Since(start) > time.Minute {
			p.Fatal("no message came")
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}

func TestAnswersOfDPSAndTwinAreDelayedAndNothingElse(t *testing.T) {
	const delay = 70 * time.Millisecond
	inBubble(t, emulator.Config{AnswerDelay: delay}, func(t *testing.T, w world) {
		start := time.Now()
		p := w.connectDPS(login{})
		d := w.mustConnect(login{hub: "A"})
		d.mustSubscribe(fourFilters...)
		d.mustPublish(events, "1")
		if took := time.Since(start); took != 0 {
			t.Errorf("CONNACK, SUBACK and PUBACK took %v", took)
		}
		for name, c := range map[string]struct {
			peer *peer
			want time.Duration
			do   func()
		}{
			"a registration": {p, delay, func() {
				p.mustPublish(fmt.Sprintf(putTopic, 1), `{"registrationId":"dev1"}`)
			}},
			"a poll":         {p, delay, func() { p.mustPublish(fmt.Sprintf(getTopic, 2, "unknown"), "") }},
			"reading a twin": {d, delay, func() { d.mustPublish(getTwin+"1", "") }},
			"a report":       {d, delay, func() { d.mustPublish(report+"2", `{"a":1}`) }},
			"a bad report":   {d, delay, func() { d.mustPublish(report+"3", `[]`) }},
			"a patch":        {d, 0, func() { w.SetDesired(device, map[string]any{"a": 1}) }},
			"a message":      {d, 0, func() { w.SendMessage(device, emulator.Message{}) }},
			"a method": {d, 0, func() {
				go w.InvokeMethod(t.Context(), device, "m", nil)
			}},
		} {
			if took := c.peer.took(c.do); took != c.want {
				t.Errorf("%s took %v, want %v", name, took, c.want)
			}
		}
		w.Close() // ends the method
	})
}

func TestADelayedTwinIsNotOlderThanAPatchThatOvertakesIt(t *testing.T) {
	inBubble(t, emulator.Config{AnswerDelay: time.Second}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(fourFilters...)
		p.mustPublish(getTwin+"1", "")
		if err := w.SetDesired(device, map[string]any{"a": 1}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		got := p.topics()
		if len(got) != 2 || !strings.Contains(got[0], "PATCH/properties/desired/?$version=2") ||
			!strings.Contains(got[1], `"desired":{"$version":2,"a":1}`) {
			t.Errorf("received %q", got)
		}
	})
}

func TestADelayedAnswerEndsWithItsSession(t *testing.T) {
	inBubble(t, emulator.Config{AnswerDelay: time.Second}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(fourFilters...)
		p.mustPublish(getTwin+"1", "")
		p.close()
		p = w.mustConnect(login{hub: "A"})
		time.Sleep(time.Minute)
		if got := p.topics(); len(got) > 0 {
			t.Errorf("the next session received %q", got)
		}
	})
}

// tookNow returns the time that reading the twin takes, without a fake clock.
func (p *peer) tookNow() time.Duration {
	p.Helper()
	start := time.Now()
	p.mu.Lock()
	before := len(p.received)
	p.mu.Unlock()
	p.mustPublish(getTwin+"1", "")
	for time.Since(start) < time.Minute {
		p.mu.Lock()
		n := len(p.received)
		p.mu.Unlock()
		if n > before {
			return time.Since(start)
		}
		time.Sleep(time.Millisecond)
	}
	p.Fatal("no answer came")
	return 0
}

func TestAnswersAreDelayedOverSocketsUnlessThatIsSwitchedOff(t *testing.T) {
	onSockets(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/twin/res/#")
		if took := p.tookNow(); took < emulator.DefaultAnswerDelay {
			t.Errorf("an answer took %v", took)
		}
	})
	onSockets(t, emulator.Config{AnswerDelay: emulator.NoAnswerDelay}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/twin/res/#")
		for range 100 { // a busy machine may be slow once
			if p.tookNow() < emulator.DefaultAnswerDelay {
				return
			}
		}
		t.Error("without a delay no answer came sooner than with it")
	})
}
