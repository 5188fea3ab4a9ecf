package emulator_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

const bound = "devices/dev1/messages/devicebound/"

// message returns the topic and body of a received message without properties.
func message(id string) string {
	return bound + "%24.mid=" + id + "&%24.to=%2Fdevices%2Fdev1%2Fmessages%2FdeviceBound body"
}

func (w world) mustSend(ids ...string) {
	w.Helper()
	for _, id := range ids {
		if err := w.SendMessage(device, emulator.Message{ID: id, Body: []byte("body")}); err != nil {
			w.Fatal(err)
		}
	}
}

func (p *peer) wantMessages(want ...string) {
	p.Helper()
	if got := p.topics(); !slices.Equal(got, want) {
		p.Errorf("received %q\nwant  %q", got, want)
	}
}

func TestAMessageArrivesWithItsPropertiesAndPUBACKCompletesIt(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(bound + "#")
		err := w.SendMessage(device, emulator.Message{
			ID: "m 1", Properties: map[string]string{"note": "a+b&c=d/é", "empty": ""}, Body: []byte("body"),
		})
		if err != nil {
			t.Fatal(err)
		}
		p.wantMessages(bound +
			"%24.mid=m%201&%24.to=%2Fdevices%2Fdev1%2Fmessages%2FdeviceBound&empty=&note=a%2Bb%26c%3Dd%2F%C3%A9 body")
		if n := w.QueueLength(device); n != 0 {
			t.Errorf("%d messages are pending", n)
		}
		w.wantNoViolation()
	})
}

func TestMessagesArePendingWhileADeviceIsOffline(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		if err := w.SendMessage(device, emulator.Message{}); !errors.Is(err, emulator.ErrNeverSeen) {
			t.Errorf("before the first session: %v", err)
		}
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(bound + "#")
		p.close()
		w.mustSend("1", "2", "3")
		if n := w.QueueLength(device); n != 3 {
			t.Errorf("%d messages are pending", n)
		}
		p = w.mustConnect(login{hub: "A"}) // the hub has stored its subscription
		p.wantMessages(message("1"), message("2"), message("3"))
	})
}

func TestACleanSessionDeletesTheQueue(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustConnect(login{hub: "A"}).close()
		w.mustSend("1")
		p := w.mustConnect(login{hub: "A", clean: true})
		p.mustSubscribe(bound + "#")
		p.wantMessages()
		if n := w.QueueLength(device); n != 0 {
			t.Errorf("%d messages are pending", n)
		}
	})
}

func TestAMessageWithoutPUBACKIsSentAgainWhenItsLockEnds(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", manualAck: true})
		p.mustSubscribe(bound + "#")
		w.mustSend("1")
		time.Sleep(59 * time.Second)
		p.wantMessages(message("1"))
		time.Sleep(2 * time.Second)
		p.wantMessages(message("1"), message("1"))

		received := p.messages()
		received[0].Ack() // too late for the first
		time.Sleep(time.Second)
		if n := w.QueueLength(device); n != 1 {
			t.Errorf("after a late PUBACK %d messages are pending", n)
		}
		received[1].Ack()
		if err := w.Wait(t.Context(), func() bool { return w.QueueLength(device) == 0 }); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Minute)
		p.wantMessages(message("1"), message("1"))
	})
}

func TestAMessageWithoutPUBACKIsSentAgainAfterAReconnect(t *testing.T) {
	for name, c := range map[string]struct {
		again  login
		resent bool
	}{
		"in the same session": {login{hub: "A"}, true},
		"on another hub":      {login{hub: "B"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A", manualAck: true})
				p.mustSubscribe(bound + "#")
				w.mustSend("1", "2")
				first := p.messages()
				first[0].Ack()
				p.close()
				w.MoveDevice(device, c.again.hub)
				p = w.mustConnect(c.again)
				if c.again.hub == "B" {
					p.mustSubscribe(bound + "#")
				}
				p.wantMessages(message("2"))
				again := p.messages()[0]
				if again.Duplicate() != c.resent || c.resent && again.MessageID() != first[1].MessageID() {
					t.Errorf("packet %d, a duplicate: %t", again.MessageID(), again.Duplicate())
				}
				time.Sleep(5 * time.Minute) // it is not sent a third time, because the second was acknowledged
				p.wantMessages(message("2"))
			})
		})
	}
}

func TestAQueueHoldsFiftyMessagesOf64KB(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(bound + "#")
		p.close()
		for i := range 50 {
			if err := w.SendMessage(device,
				emulator.Message{ID: fmt.Sprintf("%02d", i), Body: make([]byte, 64<<10-2)}); err != nil {
				t.Fatalf("message %d: %v", i+1, err)
			}
		}
		if err := w.SendMessage(device, emulator.Message{}); !errors.Is(err, emulator.ErrQueueFull) {
			t.Errorf("the fifty-first: %v", err)
		}
		p = w.mustConnect(login{hub: "A"})
		if err := w.Wait(t.Context(), func() bool { return w.QueueLength(device) == 0 }); err != nil {
			t.Fatal(err)
		}
		if n := len(p.messages()); n != 50 {
			t.Errorf("%d arrived", n)
		}
		if err := w.SendMessage(device, emulator.Message{Body: make([]byte, 64<<10+1)}); err == nil {
			t.Error("an oversize message was taken")
		}
	})
}

func TestAMessageExpires(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", tokenLife: 100 * time.Hour})
		p.mustSubscribe(bound + "#")
		p.close()
		w.mustSend("an hour")
		w.SendMessage(device, emulator.Message{ID: "two hours", TTL: 2 * time.Hour, Body: []byte("body")})
		time.Sleep(time.Hour)
		if n := w.QueueLength(device); n != 1 {
			t.Errorf("%d messages are pending", n)
		}
		w.mustConnect(login{hub: "A"}).wantMessages(message("two%20hours"))
		for _, ttl := range []time.Duration{time.Second, 72 * time.Hour, -1} {
			if err := w.SendMessage(device, emulator.Message{TTL: ttl}); err == nil {
				t.Errorf("a TTL of %v was taken", ttl)
			}
		}
	})
}

func TestAtQoS0AMessageIsCompleteOnceSent(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.Subscribe(bound+"#", 0, nil).Wait()
		w.mustSend("1")
		p.wantMessages(message("1"))
		if n := w.QueueLength(device); n != 0 {
			t.Errorf("%d messages are pending", n)
		}
	})
}

// commandID is the ID of the first command in a bubble: the start time of the cloud in hexadecimal
// Unix seconds, and a number.
const commandID = "command-386d4380-1"

func TestADurableCommandIsAMessage(t *testing.T) {
	for parameter, body := range map[string]string{"": "@", "1.23": "1.23", "sample string": "sample string"} {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			p := w.mustConnect(login{hub: "A"})
			p.mustSubscribe(bound + "#")
			if err := w.SendCommand(device, "setAlarm", []byte(parameter)); err != nil {
				t.Fatal(err)
			}
			p.wantMessages(bound + "%24.mid=" + commandID +
				"&%24.to=%2Fdevices%2Fdev1%2Fmessages%2FdeviceBound&method-name=setAlarm " + body)
		})
	}
}
