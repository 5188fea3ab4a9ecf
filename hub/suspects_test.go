package hub

import (
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/transport"
)

func byHub() error { return &transport.Error{Reason: transport.Closed, Host: "hub"} }

func TestTheReadingThatEndsEachSessionIsCondemnedAndNoOther(t *testing.T) {
	s := newSuspects()
	ended := func(want bool, onWay ...uint64) {
		t.Helper()
		if n, guilty := s.sessionEnded(byHub(), onWay); guilty != want || guilty && n != 2 {
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
	s.acknowledged(1, steadyAge) // innocent
	ended(false, 2)
	if s.isWithheld(2) {
		t.Error("held back too soon")
	}
	ended(false, 2)
	if !s.isWithheld(2) || s.isWithheld(3) {
		t.Error("2 has ended two sessions alone and is not held back")
	}
	for round := range 3 {
		if !s.acknowledged(3, steadyAge) || s.isWithheld(2) {
			t.Error("3 went through, so 2 has a try")
		}
		ended(round == 2, 2)
		if s.isWithheld(2) != (round < 2) {
			t.Error("2 has ended the session again, and is not held back")
		}
	}
	if s.window(64) != 64 || s.isWithheld(2) {
		t.Error("a reading is still suspected")
	}
}

func TestAHubThatEndsEverySessionAndThenRecoversCondemnsNothing(t *testing.T) {
	for recovers := range 30 { // after so many sessions
		s := newSuspects()
		waiting := []uint64{1, 2, 3}
		for range recovers {
			n := waiting[0]
			if s.isWithheld(n) {
				n = waiting[1]
			}
			if _, guilty := s.sessionEnded(byHub(), []uint64{n}); guilty {
				t.Fatalf("%d is condemned by a hub that takes nothing", n)
			}
		}
		for len(waiting) > 0 {
			i := 0
			if s.isWithheld(waiting[0]) {
				i = 1
			}
			s.acknowledged(waiting[i], steadyAge)
			waiting = append(waiting[:i:i], waiting[i+1:]...)
		}
		if s.window(64) != 64 {
			t.Errorf("recovered after %d sessions, the window stays at 1", recovers)
		}
	}
}

// Sessions that last for a moment only, each with a reading or two that arrive before the next one
// is on its way: all of that is coincidence.
func TestAHubThatEndsEverySessionAtOnceCondemnsNothing(t *testing.T) {
	s := newSuspects()
	for range 100 {
		if s.isWithheld(1) {
			s.acknowledged(2, steadyAge-1)
		}
		n := uint64(1)
		if s.isWithheld(1) {
			n = 3
		}
		if n, guilty := s.sessionEnded(byHub(), []uint64{n}); guilty {
			t.Fatalf("%d is condemned", n)
		}
	}
}

// A session that ends before the suspect's try proves nothing: it is held back on the next one too.
func TestTheSuspectIsTriedOnlyWhereAnotherWasTaken(t *testing.T) {
	s := newSuspects()
	for range 4 {
		s.sessionEnded(byHub(), []uint64{1})
	}
	if !s.acknowledged(2, steadyAge) || s.isWithheld(1) {
		t.Fatal("it has no try")
	}
	s.sessionEnded(byHub(), nil)
	if !s.isWithheld(1) {
		t.Error("it would be the first on the next session")
	}
}

func TestABadNetworkMakesNobodySuspect(t *testing.T) {
	s := newSuspects()
	for _, r := range []transport.Reason{
		transport.Silence, transport.WriteStalled, transport.AckOverdue, transport.ClosedLocally, transport.TimedOut,
	} {
		for range 5 {
			s.sessionEnded(&transport.Error{Reason: r}, []uint64{1})
		}
	}
	if s.window(64) != 64 || s.isWithheld(1) {
		t.Error("reading 1 is suspected")
	}
}

// The readings that were left went out in the session's first second, and no other comes.
func TestTheSuspectIsTriedWhenTheSessionOutlivesTheOthers(t *testing.T) {
	s := newSuspects()
	for range 4 {
		s.sessionEnded(byHub(), []uint64{1})
	}
	began := time.Now()
	if _, ok := s.retryAt(began, false); ok || !s.isWithheld(1) {
		t.Fatal("it is due before another was taken")
	}
	s.acknowledged(2, steadyAge-1)
	if at, ok := s.retryAt(began, true); !ok || !at.Equal(began.Add(steadyAge)) {
		t.Fatalf("due at %v, %t", at, ok)
	}
	s.retry()
	if s.isWithheld(1) {
		t.Error("it has no try")
	}
}

// Where there is no other reading, a hub that ends the session may be at fault itself. So the
// suspect comes again, ever more seldom, and is not condemned for it.
func TestASuspectThatIsTheOnlyReadingIsTriedEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuspects()
		for range 4 {
			s.sessionEnded(byHub(), []uint64{1})
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			at, ok := s.retryAt(time.Now(), true)
			if !ok || time.Until(at) != want*time.Minute {
				t.Fatalf("try %d is due in %v, %t", i, time.Until(at), ok)
			}
			time.Sleep(time.Until(at))
			s.retry()
			if _, guilty := s.sessionEnded(byHub(), []uint64{1}); guilty || !s.isWithheld(1) {
				t.Fatal("it is condemned, or free")
			}
		}
		s.retry()
		s.acknowledged(1, time.Hour)
		if s.isWithheld(1) || s.window(64) != 64 {
			t.Error("a reading is still suspected")
		}
	})
}
