package hub

import (
	"testing"

	"giantlizard.example/failover/transport"
)

func byHub() error { return &transport.Error{Reason: transport.Closed, Host: "hub"} }

func TestTheReadingThatEndsEachSessionIsCondemnedAndNoOther(t *testing.T) {
	s := newSuspicion()
	ended := func(want bool, onWay ...uint64) {
		t.Helper()
		if n, guilty := s.ended(byHub(), onWay); guilty != want || guilty && n != 2 {
			t.Errorf("condemned %d, %t", n, guilty)
		}
	}
	ended(false, 1, 2, 3)
	if s.window(64) != 64 {
		t.Error("one session proves nothing")
	}
	ended(false, 1, 2, 3)
	if s.window(64) != 1 {
		t.Error("after two sessions the readings must go one at a time")
	}
	s.acknowledged(1) // innocent
	ended(false, 2)
	if s.holds(2) {
		t.Error("held back too soon")
	}
	ended(false, 2)
	if !s.holds(2) || s.holds(3) {
		t.Error("2 has ended two sessions alone and is not held back")
	}
	if !s.acknowledged(3) || s.holds(2) {
		t.Error("3 went through, so 2 has one more try")
	}
	ended(true, 2)
	if s.window(64) != 64 || s.holds(2) {
		t.Error("the suspicion has not ended")
	}
}

func TestAHubThatEndsEverySessionAndThenRecoversCondemnsNothing(t *testing.T) {
	for recovers := range 30 { // after so many sessions
		s := newSuspicion()
		waiting := []uint64{1, 2, 3}
		for range recovers {
			n := waiting[0]
			if s.holds(n) {
				n = waiting[1]
			}
			if _, guilty := s.ended(byHub(), []uint64{n}); guilty {
				t.Fatalf("%d is condemned by a hub that takes nothing", n)
			}
		}
		for len(waiting) > 0 {
			i := 0
			if s.holds(waiting[0]) {
				i = 1
			}
			s.acknowledged(waiting[i])
			waiting = append(waiting[:i:i], waiting[i+1:]...)
		}
		if s.window(64) != 64 {
			t.Errorf("recovered after %d sessions, the window stays at 1", recovers)
		}
	}
}

func TestABadNetworkMakesNobodySuspect(t *testing.T) {
	s := newSuspicion()
	for _, r := range []transport.Reason{transport.Silence, transport.WriteStalled, transport.AckOverdue, transport.Ended, transport.TimedOut} {
		for range 5 {
			s.ended(&transport.Error{Reason: r}, []uint64{1})
		}
	}
	if s.window(64) != 64 || s.holds(1) {
		t.Error("reading 1 is suspected")
	}
}
