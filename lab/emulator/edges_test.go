package emulator_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// text returns a JSON string with this number of bytes.
func text(bytes int) string { return `"` + strings.Repeat("x", bytes-2) + `"` }

func TestAMethodAllows128KBInEachDirection(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/methods/POST/#")
		answer := func(rid int, size int) {
			time.AfterFunc(time.Second, func() {
				p.Publish(fmt.Sprintf("$iothub/methods/res/200/?$rid=%d", rid), 0, false, text(size))
			})
		}
		answer(1, 128<<10)
		if status, body, err := w.InvokeMethod(t.Context(), device, "m", []byte(text(128<<10))); status != 200 ||
			len(body) != 128<<10 || err != nil {
			t.Errorf("%d, %d bytes, %v", status, len(body), err)
		}
		if _, _, err := w.InvokeMethod(t.Context(), device, "m", []byte(text(128<<10+1))); err == nil ||
			!strings.Contains(err.Error(), "131073") {
			t.Errorf("a byte more: %v", err)
		}
		w.wantNoViolation()
		answer(2, 128<<10+1)
		if _, _, err := w.InvokeMethod(t.Context(), device, "m", nil); !errors.Is(err, emulator.ErrMethodTimeout) {
			t.Errorf("an answer of a byte more: %v", err)
		}
		w.wantViolation("131073 bytes")
	})
}

func TestAMethodsStatusIsAnyInteger(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/methods/POST/#")
		for i, want := range []int{0, -1, 99, 1000, 1<<31 - 1} {
			time.AfterFunc(time.Second,
				func() { p.Publish(fmt.Sprintf("$iothub/methods/res/%d/?$rid=%d", want, i+1), 0, false, "") })
			if status, _, err := w.InvokeMethod(t.Context(), device, "m", nil); status != want || err != nil {
				t.Errorf("%d, %v, want %d", status, err, want)
			}
		}
		w.wantNoViolation()
		p.Publish("$iothub/methods/res/ok/?$rid=1", 0, false, "")
		p.mustLose(time.Second)
		w.wantViolation("answered a method on")
	})
}

func TestDPSAcceptsPayloadsOf96KB(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		const begin = `{"registrationId":"dev1","payload":`
		topic, _ := w.connectDPS(login{}).request(fmt.Sprintf(putTopic, 1), begin+text(96<<10-len(begin)-1)+"}")
		if !strings.Contains(topic, "/res/202/") {
			t.Errorf("got %s", topic)
		}
		w.wantNoViolation()
	})
}

func TestACloudToDeviceMessageHasAtMost64KBAndATTLOfTwoDays(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustConnect(login{hub: "A"})
		for _, c := range []struct {
			size int
			ttl  time.Duration
			ok   bool
		}{
			{64 << 10, 0, true}, {64<<10 + 1, 0, false},
			{
				1, time.Minute, true}, {1, time.Minute - 1, false}, {1, 48 * time.Hour, true},
			{1, 48*time.Hour + 1, false},
		} {
			// 2 bytes are for the message ID, 2 for the property
			m := emulator.Message{ID: "id", Properties: map[string]string{"a": "b"},
				Body: make([]byte, max(0, c.size-4)),
				TTL:  c.ttl}
			if err := w.SendMessage(device, m); (err == nil) != c.ok {
				t.Errorf("%d bytes, %v: %v", c.size, c.ttl, err)
			}
		}
	})
}
