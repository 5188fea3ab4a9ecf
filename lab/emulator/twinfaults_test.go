package emulator_test

import (
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

const desiredTopic = "$iothub/twin/PATCH/properties/desired/?$version="

func TestDuplicateMessageSendsACloudToDeviceMessageTwice(t *testing.T) {
	for name, manual := range map[string]bool{"acknowledged": false, "not acknowledged": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A", manualAck: manual})
				p.mustSubscribe(bound + "#")
				w.mustInject(device, emulator.DuplicateMessage, emulator.Params{Count: 2})
				w.mustSend("1", "2", "3")
				p.wantMessages(message("1"), message("1"), message("2"), message("2"), message("3"))
				var ids []uint16
				for _, m := range p.messages() {
					if m.Duplicate() || slices.Contains(ids, m.MessageID()) {
						t.Errorf("packet %d, duplicate: %t", m.MessageID(), m.Duplicate())
					}
					ids = append(ids, m.MessageID())
				}
				if want := map[bool]int{false: 0, true: 3}[manual]; w.QueueLength(device) != want {
					t.Errorf("%d messages are pending", w.QueueLength(device))
				}
			})
		})
	}
}

func TestADesiredPatchIsSentTwiceOrNotAtAll(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/twin/PATCH/properties/desired/#")
		set := func() { w.SetDesired(device, map[string]any{"a": w.QueueLength(device)}) }
		set()
		w.mustInject("A", emulator.DuplicateDesired, emulator.Params{Count: 1})
		set()
		w.mustInject(device, emulator.DesiredGap, emulator.Params{Count: 1})
		set()
		set()
		var versions []string
		for _, topic := range p.topics() {
			version, _ := strings.CutPrefix(topic, desiredTopic)
			versions = append(versions, version[:1])
		}
		if !slices.Equal(versions, []string{"2", "3", "3", "5"}) {
			t.Errorf("versions %q", versions)
		}
		if _, _, version, _ := w.Twin(device); version != 5 {
			t.Errorf("the twin has version %d", version)
		}
	})
}

func TestTwinMuteIgnoresTwinRequests(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/twin/res/#")
		w.mustInject(device, emulator.TwinMute, emulator.Params{Count: 2})
		p.mustPublish(getTwin+"1", "")
		p.mustPublish(report+"2", `{"a":1}`)
		if received := p.topics(); len(received) != 0 {
			t.Errorf("received %q", received)
		}
		if topic, _ := p.request(report+"3", `{"a":1}`); topic != "$iothub/twin/res/204/?$rid=3&$version=2" {
			t.Errorf("got %s", topic)
		}
		w.wantNoViolation()
	})
}

func TestTwinRequestsAreAnsweredWithErrors(t *testing.T) {
	for name, c := range map[string]struct {
		fault emulator.Fault
		p     emulator.Params
		want  string
	}{
		"throttled": {emulator.TwinThrottles, emulator.Params{}, "429/?$rid=1"},
		"throttled with a time": {
			emulator.TwinThrottles, emulator.Params{RetryAfter: 7e9}, "429/?$rid=1&retry-after=7",
		},
		"failed":                  {emulator.TwinError, emulator.Params{}, "500/?$rid=1"},
		"failed in another way":   {emulator.TwinError, emulator.Params{Status: 503}, "503/?$rid=1"},
		"throttled for the first": {emulator.TwinThrottles, emulator.Params{Count: 2}, "429/?$rid=1"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A"})
				p.mustSubscribe("$iothub/twin/res/#")
				w.mustInject("A", c.fault, c.p)
				for _, topic := range []string{getTwin + "1", report + "1"} {
					topic, body := p.request(topic, `{"a":1}`)
					if topic != "$iothub/twin/res/"+c.want || object(t, body)["errorCode"] == nil {
						t.Errorf("got %s %s", topic, body)
					}
				}
				w.mustClear("A", c.fault)
				if topic, _ := p.request(report+"2", `{"a":1}`); topic != "$iothub/twin/res/204/?$rid=2&$version=2" {
					t.Errorf("after Clear: got %s", topic)
				}
				w.wantNoViolation()
			})
		})
	}
}

func TestTwinFaultsOverSockets(t *testing.T) {
	onSockets(t, emulator.Config{}, func(t *testing.T, w world) {
		raw := w.rawConnect(0)
		raw.Write([]byte("\x82\x17\x00\x01\x00\x12$iothub/twin/res/#\x00"))
		w.readAll(raw, 5)
		w.mustInject(device, emulator.TwinError, emulator.Params{})
		raw.Write([]byte("\x30\x1a\x00\x18$iothub/twin/GET/?$rid=1"))
		if got := w.readAll(raw, 33); !strings.Contains(got, "$iothub/twin/res/500/?$rid=1") {
			t.Errorf("got %q", got)
		}
	})
}
