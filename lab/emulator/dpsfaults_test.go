package emulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// poll sends a poll for an operation and returns the topic and body of the answer.
func (p *peer) poll(rid int, operation string) (string, map[string]any) {
	p.Helper()
	topic, body := p.request(fmt.Sprintf(getTopic, rid, operation), "")
	return topic, object(p.T, body)
}

func TestRegisteringAndPollingAreThrottledSeparately(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		_, operation := p.register(1)
		for _, c := range []struct {
			fault          emulator.Fault
			retryAfter     time.Duration
			register, poll string
		}{
			{emulator.DPSThrottlesRegister, 0, "429/?$rid=2", "200/?$rid=2"},
			{emulator.DPSThrottlesRegister, 4500 * time.Millisecond, "429/?$rid=2&retry-after=5", "200/?$rid=2"},
			{emulator.DPSThrottlesPoll, 0, "202/?$rid=2&retry-after=3", "429/?$rid=2"},
			{emulator.DPSThrottlesPoll, 9 * time.Second, "202/?$rid=2&retry-after=3", "429/?$rid=2&retry-after=9"},
			{emulator.DPSThrottles, 0, "429/?$rid=2", "429/?$rid=2"},
		} {
			w.mustInject("DPS", c.fault, emulator.Params{RetryAfter: c.retryAfter})
			topic, registered := p.register(2)
			if got := strings.TrimPrefix(topic, "$dps/registrations/res/"); got != c.register {
				t.Errorf("%s: registering got %s", c.fault, got)
			}
			if registered != "" {
				operation = registered
			}
			time.Sleep(10 * time.Second)
			topic, _ = p.poll(2, operation)
			if got := strings.TrimPrefix(topic, "$dps/registrations/res/"); got != c.poll {
				t.Errorf("%s: polling got %s", c.fault, got)
			}
			w.mustClear("DPS", c.fault)
		}
		w.wantNoViolation()
	})
}

func TestDPSAnswersWithTheGivenStatus(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		w.mustInject("DPS", emulator.DPSUnavailable, emulator.Params{Status: 500, RetryAfter: time.Minute, Count: 1})
		if topic, _ := p.register(1); !strings.HasSuffix(topic, "/500/?$rid=1&retry-after=60") {
			t.Errorf("got %s", topic)
		}
		if topic, _ := p.register(2); !strings.Contains(topic, "/202/") {
			t.Errorf("the second got %s", topic)
		}
	})
}

func TestDPSRejectsLogins(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		for fault, want := range map[emulator.Fault]byte{emulator.Refuse: 3, emulator.Reject: 5} {
			w.mustInject("DPS", fault, emulator.Params{})
			if code := w.refusal(login{}); code != want {
				t.Errorf("%s: CONNACK %d", fault, code)
			}
			w.mustClear("DPS", fault)
			w.mustConnect(login{})
		}
	})
}

func TestARegistrationMayEndWithoutAHub(t *testing.T) {
	for fault, want := range map[emulator.Fault]string{
		emulator.DPSUnassigned: "unassigned <nil>",
		emulator.DPSHubless:    "assigned <nil>",
		emulator.DPSMisdirects: "assigned hub.invalid",
	} {
		t.Run(string(fault), func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				var p emulator.Params
				if fault == emulator.DPSMisdirects {
					p.Hub = "hub.invalid"
				}
				w.mustInject("DPS", fault, p)
				state := w.registerDevice(t)
				if got := fmt.Sprint(state["status"], " ", state["assignedHub"]); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				w.mustClear("DPS", fault)
				if state := w.registerDevice(t); state["assignedHub"] != w.Hub("A") {
					t.Errorf("after Clear: got %v", state)
				}
			})
		})
	}
}

func TestDPSNamesAHubToWhichTheDeviceDoesNotBelong(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustInject("DPS", emulator.DPSMisdirects, emulator.Params{Hub: "B"})
		if state := w.registerDevice(t); state["assignedHub"] != w.Hub("B") {
			t.Errorf("got %v", state)
		}
		if code := w.refusal(login{hub: "B"}); code != 5 {
			t.Errorf("CONNACK %d", code)
		}
	})
}

func TestAlternatesMovesTheDeviceAtEachRegistration(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustInject("DPS", emulator.DPSAlternates, emulator.Params{})
		for i, want := range []string{"A", "B", "A", "B"} {
			if state := w.registerDevice(t); state["assignedHub"] != w.Hub(want) || w.HubOf(device) != want {
				t.Errorf("registration %d got %v", i+1, state)
			}
			w.mustConnect(login{hub: want}).mustPublish(events, "x")
		}
		w.mustClear("DPS", emulator.DPSAlternates)
		if state := w.registerDevice(t); state["assignedHub"] != w.Hub("B") {
			t.Errorf("after Clear: got %v", state)
		}
		w.wantNoViolation()
	})
}

func TestAMuteDPSSendsNoAnswers(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustInject("DPS", emulator.DPSMute, emulator.Params{})
		p := w.mustConnect(login{})
		p.mustSubscribe("$dps/registrations/res/#")
		p.mustPublish(fmt.Sprintf(putTopic, 1), `{"registrationId":"dev1"}`)
		if w.Registrations(device) != 1 {
			t.Errorf("%d requests", w.Registrations(device))
		}
		if w.network != nil {
			time.Sleep(time.Minute)
			p.wantMessages()
			w.mustClear("DPS", emulator.DPSMute)
			p.register(2)
		}
	})
}

func TestLingersDelaysAnAssignment(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustInject("DPS", emulator.DPSLingers, emulator.Params{Delay: time.Minute})
		p := w.connectDPS(login{})
		_, operation := p.register(1)
		for range 5 {
			time.Sleep(10 * time.Second)
			if topic, _ := p.poll(2, operation); !strings.Contains(topic, "/202/") {
				t.Errorf("got %s", topic)
			}
		}
		time.Sleep(10 * time.Second)
		if topic, _ := p.poll(2, operation); !strings.Contains(topic, "/200/") {
			t.Errorf("after a minute: %s", topic)
		}
	})
}

func TestLateAnswersOfDPSAreInOrder(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		w.mustInject("DPS", emulator.DPSLateAnswers, emulator.Params{Delay: 20 * time.Second})
		p.mustPublish(fmt.Sprintf(putTopic, 1), `{"registrationId":"dev1"}`)
		w.mustClear("DPS", emulator.DPSLateAnswers)
		p.mustPublish(fmt.Sprintf(putTopic, 2), `{"registrationId":"dev1"}`) // its answer must not overtake the first
		time.Sleep(20*time.Second - time.Nanosecond)
		p.wantMessages()
		time.Sleep(time.Nanosecond)
		if received := p.topics(); len(received) != 2 || !strings.Contains(received[0], "$rid=1") ||
			!strings.Contains(received[1], "$rid=2") {
			t.Errorf("received %q", received)
		}
	})
}

func TestLateAnswersAreDiscardedWithTheirConnection(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		w.mustInject("DPS", emulator.DPSLateAnswers, emulator.Params{Delay: time.Minute})
		p.mustPublish(fmt.Sprintf(putTopic, 1), `{"registrationId":"dev1"}`)
		p.close()
		other := w.connectDPS(login{})
		time.Sleep(time.Hour)
		other.wantMessages()
	})
}

func TestAnswersHaveAnUnknownRIDOrNoOperationID(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		w.mustInject("DPS", emulator.DPSWrongRID, emulator.Params{Count: 1})
		if topic, _ := p.register(1); strings.Contains(topic, "$rid=1&") {
			t.Errorf("got %s", topic)
		}
		w.mustInject("DPS", emulator.DPSNoOperationID, emulator.Params{Count: 1})
		if topic, operation := p.register(2); operation != "" || !strings.Contains(topic, "/202/?$rid=2&") {
			t.Errorf("got %s with operation %q", topic, operation)
		}
		if topic, operation := p.register(3); operation == "" || !strings.Contains(topic, "/202/?$rid=3&") {
			t.Errorf("got %s with operation %q", topic, operation)
		}
	})
}
