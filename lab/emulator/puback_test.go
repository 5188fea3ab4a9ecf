package emulator_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// publishes sends n messages and returns how many of them were acknowledged within the time.
func (p *peer) publishes(n int, wait time.Duration) int {
	p.Helper()
	var tokens []interface{ WaitTimeout(time.Duration) bool }
	for i := range n {
		tokens = append(tokens,
			p.Publish(fmt.Sprintf("devices/%s/messages/events/$.mid=%d", p.device(), i), 1, false, "x"))
	}
	time.Sleep(wait)
	acknowledged := 0
	for _, token := range tokens {
		if token.WaitTimeout(time.Nanosecond) {
			acknowledged++
		}
	}
	return acknowledged
}

func (p *peer) device() string {
	options := p.OptionsReader()
	return options.ClientID()
}

func TestNoPUBACKStoresMessagesWithoutAcknowledgement(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", clean: true})
		w.mustInject("A", emulator.NoPUBACK, emulator.Params{})
		if n := p.publishes(3, 100*time.Millisecond); n != 0 {
			t.Errorf("%d acknowledged", n)
		}
		if err := w.Wait(t.Context(), func() bool { return len(w.Ledger()) == 3 }); err != nil {
			t.Fatal(err)
		}
		w.mustClear("A", emulator.NoPUBACK)
		p.mustPublish(events, "acknowledged")
		w.wantNoViolation()
	})
}

func TestNoPUBACKAppliesToOneDeviceAsOftenAsItsCount(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		other := w.mustConnect(login{hub: "A", device: "dev2"})
		w.mustInject(device, emulator.NoPUBACK, emulator.Params{Count: 2})
		if n := other.publishes(5, time.Second); n != 5 {
			t.Errorf("the other device: %d acknowledged", n)
		}
		if n := p.publishes(5, time.Second); n != 3 {
			t.Errorf("%d acknowledged", n)
		}
	})
}

func TestNoPUBACKAppliesByProbability(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.mustInject("A", emulator.NoPUBACK, emulator.Params{Probability: 0.3})
		if n := p.publishes(100, time.Second); n < 50 || n > 90 || len(w.Ledger()) != 100 {
			t.Errorf("%d acknowledged, %d stored", n, len(w.Ledger()))
		}
	})
}

func TestPINGsAreAnsweredWhilePUBACKsAreNot(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", keepAlive: 6 * time.Second})
		w.mustInject("A", emulator.NoPUBACK, emulator.Params{})
		p.publishes(1, time.Minute)
		if !p.IsConnected() {
			t.Error("the connection ended")
		}
	})
}

func TestLatePUBACKsAreInOrder(t *testing.T) {
	slow.Test(t)
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		raw := w.rawConnect(0)
		w.mustInject(device, emulator.LatePUBACK, emulator.Params{Delay: time.Second})
		start := time.Now()
		raw.Write(rawPublish)
		if err := w.Wait(t.Context(), func() bool { return len(w.Ledger()) == 1 }); err != nil {
			t.Fatal(err)
		}
		w.mustClear(device, emulator.LatePUBACK)
		// its PUBACK must not overtake the first
		raw.Write([]byte("\x32\x21\x00\x1ddevices/dev1/messages/events/\x00\x02"))
		raw.Write([]byte("\xc0\x00")) // but PINGRESP may overtake it
		want := "\xd0\x00\x40\x02\x00\x01\x40\x02\x00\x02"
		if got := w.readAll(raw, len(want)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if took := time.Since(start); took < time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// readAll reads exactly n bytes.
func (w world) readAll(conn io.Reader, n int) string {
	w.Helper()
	all := make([]byte, n)
	if got, err := io.ReadFull(conn, all); err != nil {
		w.Fatalf("read %q, then %v", all[:got], err)
	}
	return string(all)
}

func TestASessionIsCutBetweenStoringAndPUBACK(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.mustInject(device, emulator.CutBeforePUBACK, emulator.Params{Count: 1})
		token := p.Publish(events+"$.mid=1", 1, false, "x")
		p.mustLose(5 * time.Second)
		if token.Error() == nil && token.WaitTimeout(time.Millisecond) {
			t.Error("the message was acknowledged")
		}
		w.mustConnect(login{hub: "A"}).mustPublish(events+"$.mid=1", "x")
		if l := w.Ledger(); len(l) != 2 || l[0].Duplicate || !l[1].Duplicate {
			t.Errorf("the ledger is %+v", l)
		}
		w.wantNoViolation()
	})
}

func TestAPoisonMessageEndsTheConnectionEachTime(t *testing.T) {
	for name, m := range map[string]struct{ topic, body string }{
		"a property": {events + "kind=arsenic", ""},
		"a name":     {events + "arsenic=1", ""},
		"encoded":    {events + "kind=%61rsenic", ""},
		"the body":   {events, "a bit of arsenic"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				w.Assign(device, "A")
				w.mustInject("A", emulator.Poison, emulator.Params{Mark: "arsenic"})
				for range 3 {
					p := w.mustConnect(login{hub: "A", clean: true})
					p.mustPublish(events, "water")
					p.Publish(m.topic, 1, false, m.body)
					p.mustLose(time.Second)
				}
				for _, d := range w.Ledger() {
					if strings.Contains(string(d.Body)+d.Topic, "rsenic") {
						t.Errorf("stored %+v", d)
					}
				}
				w.mustClear("A", emulator.Poison)
				w.mustConnect(login{hub: "A", clean: true}).mustPublish(m.topic, m.body)
				w.wantNoViolation()
			})
		})
	}
}
