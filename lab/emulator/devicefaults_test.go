package emulator_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func TestABarredDeviceIsDisconnectedAndRefusedWith5UntilTheFaultIsCleared(t *testing.T) {
	for _, fault := range []emulator.Fault{emulator.Disabled, emulator.Deleted, emulator.Blocked} {
		t.Run(string(fault), func(t *testing.T) {
			onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A"})
				other := w.mustConnect(login{hub: "A", device: "dev2"})
				w.mustInject(device, fault, emulator.Params{})
				if err := p.mustLose(5 * time.Second); !errors.Is(err, io.EOF) {
					t.Errorf("the connection ended with %v", err)
				}
				if code := w.refusal(login{hub: "A"}); code != 5 {
					t.Errorf("CONNACK %d", code)
				}
				other.mustPublish("devices/dev2/messages/events/", "undisturbed")
				w.mustClear(device, fault)
				w.mustConnect(login{hub: "A"}).mustPublish(events, "x")
				w.wantNoViolation()
			})
		})
	}
}

func TestDPSRefusesABarredDevice(t *testing.T) {
	for fault, want := range map[emulator.Fault]string{
		emulator.Disabled: "403/?$rid=1", emulator.Deleted: "404/?$rid=1",
	} {
		t.Run(string(fault), func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				w.Assign(device, "A")
				w.mustInject(device, fault, emulator.Params{})
				if topic, _ := w.connectDPS(login{}).register(1); !strings.HasSuffix(topic, want) {
					t.Errorf("got %s", topic)
				}
				w.mustClear(device, fault)
				if state := w.registerDevice(t); state["assignedHub"] != w.Hub("A") {
					t.Errorf("after Clear: got %v", state)
				}
			})
		})
	}
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		w.mustInject(device, emulator.Blocked, emulator.Params{})
		if state := w.registerDevice(t); state["status"] != "failed" || fmt.Sprint(state["errorCode"]) != "400209" {
			t.Errorf("blocked, got %v", state)
		}
	})
}

func TestRegisteringAgainEnablesADevice(t *testing.T) {
	for _, fault := range []emulator.Fault{emulator.Disabled, emulator.Deleted} {
		t.Run(string(fault), func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				w.mustConnect(login{hub: "B"}).close()
				w.mustInject(device, fault, emulator.Params{Reregister: true})
				if code := w.refusal(login{hub: "B"}); code != 5 {
					t.Errorf("CONNACK %d", code)
				}
				want := map[emulator.Fault]string{emulator.Disabled: "B", emulator.Deleted: "A"}[fault]
				if state := w.registerDevice(t); state["assignedHub"] != w.Hub(want) ||
					state["substatus"] != "initialAssignment" {
					t.Errorf("got %v", state)
				}
				w.mustConnect(login{hub: want})
				if active := w.ActiveFaults(); len(active) > 0 {
					t.Errorf("the active faults are %+v", active)
				}
			})
		})
	}
}

func TestADeletedDeviceLosesItsTwinItsQueueAndItsSubscriptions(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", manualAck: true})
		p.mustSubscribe(bound + "#")
		w.mustSend("1")
		w.mustPublishReported(p)
		w.mustInject(device, emulator.Deleted, emulator.Params{})
		if err := w.SetDesired(device, map[string]any{"a": 1}); !errors.Is(err, emulator.ErrUnknownDevice) {
			t.Errorf("desired properties: %v", err)
		}
		w.mustClear(device, emulator.Deleted)
		if _, reported, _, version := w.Twin(device); len(reported) != 0 || version != 1 {
			t.Errorf("the twin is %v, version %d", reported, version)
		}
		if p := w.mustConnect(login{hub: "A"}); p.present || w.QueueLength(device) != 0 {
			t.Errorf("session present: %t, %d messages are pending", p.present, w.QueueLength(device))
		}
	})
}

func TestClearingTheFaultMovedMovesDevicesBack(t *testing.T) {
	inBubble(t, emulator.Config{Hubs: []string{"A", "B", "C"}}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.Assign("dev2", "A")
		w.mustInject(device, emulator.Moved, emulator.Params{Hub: "C", For: time.Minute})
		p.mustLose(time.Second)
		if code := w.refusal(login{hub: "A"}); code != 5 || w.HubOf(device) != "C" || w.HubOf("dev2") != "A" {
			t.Errorf("CONNACK %d, at %s and %s", code, w.HubOf(device), w.HubOf("dev2"))
		}
		time.Sleep(time.Minute + 1)
		if w.HubOf(device) != "A" {
			t.Errorf("after its time the device is at %s", w.HubOf(device))
		}
		w.mustInject("A", emulator.Moved, emulator.Params{})
		if w.HubOf(device) != "B" || w.HubOf("dev2") != "B" {
			t.Errorf("at %s and %s", w.HubOf(device), w.HubOf("dev2"))
		}
		w.MoveDevice("dev2", "C") // not by the fault, so clearing the fault does not move it back
		w.mustClear("A", emulator.Moved)
		if w.HubOf(device) != "A" || w.HubOf("dev2") != "C" {
			t.Errorf("after Clear: at %s and %s", w.HubOf(device), w.HubOf("dev2"))
		}
		if err := w.Inject(device, emulator.Moved, emulator.Params{Hub: "D"}); err == nil || len(w.ActiveFaults()) > 0 {
			t.Errorf("moved to nowhere: %v", err)
		}
	})
}

func TestAFlappingHubEndsEachSessionAfterTheDelay(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.mustInject("A", emulator.Flapping, emulator.Params{Delay: 7 * time.Second})
		for range 3 {
			start := time.Now()
			p.mustPublish(events, "x")
			p.mustLose(time.Minute)
			if took := time.Since(start); took != 7*time.Second {
				t.Errorf("ended after %v", took)
			}
			p = w.mustConnect(login{hub: "A"})
		}
		w.mustClear("A", emulator.Flapping)
		time.Sleep(time.Minute)
		p.mustPublish(events, "steady")
		w.wantNoViolation()
	})
}

func TestAFlappingHubOnSockets(t *testing.T) {
	onSockets(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		w.mustInject(device, emulator.Flapping, emulator.Params{Delay: 50 * time.Millisecond})
		w.mustConnect(login{hub: "A"}).mustLose(5 * time.Second)
	})
}

func TestFlakyResetsConnectionsByProbability(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		w.mustInject("A", emulator.Flaky, emulator.Params{Probability: 0.3})
		failed := 0
		for range 30 {
			p, err := w.connect(login{hub: "A"})
			if err != nil {
				failed++
				continue
			}
			p.close()
		}
		if failed < 3 || failed > 18 {
			t.Errorf("%d of 30 failed", failed)
		}
		w.mustClear("A", emulator.Flaky)
		w.mustConnect(login{hub: "A"})
		w.wantNoViolation()
	})
}
