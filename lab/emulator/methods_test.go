package emulator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"giantlizard.example/failover/lab/emulator"
)

// answeringPeer connects a peer that answers each method with its name and payload, after a delay.
func (w world) answeringPeer(status string, delay time.Duration) *peer {
	p := w.mustConnect(login{hub: "A"})
	p.Subscribe("$iothub/methods/POST/#", 0, func(_ paho.Client, m paho.Message) {
		name, rid, _ := strings.Cut(strings.TrimPrefix(m.Topic(), "$iothub/methods/POST/"), "/?$rid=")
		time.AfterFunc(delay, func() {
			p.Publish("$iothub/methods/res/"+status+"/?$rid="+rid, 0, false,
				`{"name":"`+name+`","got":"`+string(m.Payload())+`"}`)
		})
	}).Wait()
	return p
}

func TestAMethodIsCalledAndAnswered(t *testing.T) {
	for _, name := range []string{"reboot", "thermostat1*reset", "odd/name"} {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			w.answeringPeer("200", time.Second)
			status, body, err := w.InvokeMethod(t.Context(), device, name, []byte(`5`))
			if status != 200 || string(body) != `{"name":"`+name+`","got":"5"}` || err != nil {
				t.Errorf("%d %s %v", status, body, err)
			}
			w.wantNoViolation()
		})
	}
}

func TestAMethodNeedsADeviceThatIsOnlineAndSubscribed(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		wantErr := func(want error) {
			t.Helper()
			if _, _, err := w.InvokeMethod(t.Context(), device, "reboot", nil); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		wantErr(emulator.ErrUnknownDevice)
		w.Assign(device, "A")
		wantErr(emulator.ErrNotOnline)
		p := w.mustConnect(login{hub: "A"})
		wantErr(emulator.ErrNotOnline)
		p.mustSubscribe("$iothub/methods/POST/#")
		p.close()
		wantErr(emulator.ErrNotOnline)
	})
}

func TestAMethodEndsAtItsTimeout(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.answeringPeer("200", time.Minute)
		start := time.Now()
		_, _, err := w.InvokeMethod(t.Context(), device, "slow", nil)
		if !errors.Is(err, emulator.ErrMethodTimeout) || time.Since(start) != 30*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		time.Sleep(time.Minute) // the late answer is discarded
		w.wantNoViolation()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := w.InvokeMethod(ctx, device, "slow", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's context: %v", err)
		}

		time.AfterFunc(time.Second, func() { w.Close() })
		if _, _, err := w.InvokeMethod(t.Context(), device, "slow", nil); !errors.Is(err, emulator.ErrClosed) {
			t.Errorf("the emulator's end: %v", err)
		}
	})
}

func TestAMethodNeedsJSONAndANameThatATopicCanContain(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.answeringPeer("200", 0)
		for name, payload := range map[string]string{
			"a": "{", "b": `"` + strings.Repeat("x", 128<<10) + `"`, "c+": "1", "": "1",
		} {
			if _, _, err := w.InvokeMethod(t.Context(), device, name, []byte(payload)); err == nil {
				t.Errorf("%q was called", name)
			}
		}
	})
}
