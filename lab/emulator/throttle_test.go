package emulator_test

import (
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func TestAGateAdmitsABurstAndThenItsRate(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := emulator.NewGate(10, time.Second)
	at := func(after time.Duration) (n int) {
		for g.Admit(now.Add(after)) == 0 {
			n++
		}
		return n
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 51}, {50 * time.Millisecond, 0}, {time.Second, 10}, {2 * time.Second, 10}, {time.Hour, 51}} {
		if n := at(c.after); n != c.want {
			t.Errorf("after %v %d requests are admitted, want %d", c.after, n, c.want)
		}
	}
	if wait := g.Admit(now.Add(time.Hour)); wait <= 0 || wait > 100*time.Millisecond {
		t.Errorf("the next request has to wait for %v", wait)
	}
	none := emulator.NewGate(0, time.Second)
	for range 1000 {
		if none.Admit(now) != 0 {
			t.Fatal("a gate without a limit refuses a request")
		}
	}
}

func TestAHubRefusesConnectionsBeyondItsLimit(t *testing.T) {
	inBubble(t, emulator.Config{HubConnections: 1}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		for range 6 { // a burst of five seconds, and the one that is due
			w.mustConnect(login{hub: "A"})
		}
		if code := w.refusal(login{hub: "A"}); code != 3 {
			t.Errorf("CONNACK %d", code)
		}
		time.Sleep(time.Second)
		w.mustConnect(login{hub: "A"})
	})
}

func TestDPSThrottlesRegistrationsBeyondItsLimit(t *testing.T) {
	inBubble(t, emulator.Config{Registrations: 12}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		for rid, want := range []string{"/202/", "/202/", "/429/?$rid=3&retry-after=5"} {
			if topic, _ := p.register(rid + 1); !strings.Contains(topic, want) {
				t.Errorf("registration %d got %s", rid+1, topic)
			}
		}
		time.Sleep(5 * time.Second)
		if topic, _ := p.register(4); !strings.Contains(topic, "/202/") {
			t.Errorf("after the retry-after it got %s", topic)
		}
	})
}
