package emulator

import (
	"testing"
	"time"
)

func TestAGateAdmitsABurstAndThenItsRate(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := NewGate(10, time.Second)
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
	none := NewGate(0, time.Second)
	for range 1000 {
		if none.Admit(now) != 0 {
			t.Fatal("a gate without a limit refuses a request")
		}
	}
}
