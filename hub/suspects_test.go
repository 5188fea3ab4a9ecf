package hub

import (
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/transport"
)

func byHub() error { return &transport.Error{Reason: transport.Closed, Host: "hub"} }

func TestOnlyTheReadingThatEndsEachSessionIsQuarantined(t *testing.T) {
	s := newSuspects()
	ended := func(want bool, inFlight ...uint64) {
		t.Helper()
		if n, found := s.sessionEnded(byHub(), inFlight); found != want || found && n != 2 {
			t.Errorf("quarantined %d, %t", n, found)
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
	s.acknowledged(1, steadyAge)
	ended(false, 2)
	if s.isWithheld(2) {
		t.Error("withheld too soon")
	}
	ended(false, 2)
	if !s.isWithheld(2) || s.isWithheld(3) {
		t.Error("2 has ended two sessions alone and is not withheld")
	}
	for round := range 3 {
		if !s.acknowledged(3, steadyAge) || s.isWithheld(2) {
			t.Error("3 was acknowledged, and 2 is not released")
		}
		ended(round == 2, 2)
		if s.isWithheld(2) != (round < 2) {
			t.Error("2 is withheld in the wrong round")
		}
	}
	if s.window(64) != 64 || s.isWithheld(2) {
		t.Error("a reading is still suspected")
	}
}

func TestNothingIsQuarantinedIfTheHubEndsEverySessionAndThenRecovers(t *testing.T) {
	for recovers := range 30 { // after so many sessions
		s := newSuspects()
		pending := []uint64{1, 2, 3}
		for range recovers {
			n := pending[0]
			if s.isWithheld(n) {
				n = pending[1]
			}
			if _, found := s.sessionEnded(byHub(), []uint64{n}); found {
				t.Fatalf("%d is quarantined for a hub that acknowledges nothing", n)
			}
		}
		for len(pending) > 0 {
			i := 0
			if s.isWithheld(pending[0]) {
				i = 1
			}
			s.acknowledged(pending[i], steadyAge)
			pending = append(pending[:i:i], pending[i+1:]...)
		}
		if s.window(64) != 64 {
			t.Errorf("the hub recovered after %d sessions, and the window stays at 1", recovers)
		}
	}
}

// Each session lasts for a moment only and acknowledges a reading or two, so it proves nothing.
func TestNothingIsQuarantinedIfTheHubEndsEverySessionAtOnce(t *testing.T) {
	s := newSuspects()
	for range 100 {
		if s.isWithheld(1) {
			s.acknowledged(2, steadyAge-1)
		}
		n := uint64(1)
		if s.isWithheld(1) {
			n = 3
		}
		if n, found := s.sessionEnded(byHub(), []uint64{n}); found {
			t.Fatalf("%d is quarantined", n)
		}
	}
}

// A session that ends before the suspect is sent again proves nothing: the next one withholds it, too.
func TestSuspectIsSentAgainOnlyOnASessionThatAcknowledgedAnotherReading(t *testing.T) {
	s := newSuspects()
	for range 4 {
		s.sessionEnded(byHub(), []uint64{1})
	}
	if !s.acknowledged(2, steadyAge) || s.isWithheld(1) {
		t.Fatal("the suspect is not released")
	}
	s.sessionEnded(byHub(), nil)
	if !s.isWithheld(1) {
		t.Error("the next session does not withhold it")
	}
}

func TestNetworkErrorsMakeNoReadingSuspect(t *testing.T) {
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

// The other readings were acknowledged in the session's first second, and no other comes.
func TestSuspectIsDueWhenASessionThatAcknowledgedAnotherReadingIsSteady(t *testing.T) {
	s := newSuspects()
	for range 4 {
		s.sessionEnded(byHub(), []uint64{1})
	}
	began := time.Now()
	if _, ok := s.retryAt(began, false); ok || !s.isWithheld(1) {
		t.Fatal("it is due before another was acknowledged")
	}
	s.acknowledged(2, steadyAge-1)
	if at, ok := s.retryAt(began, true); !ok || !at.Equal(began.Add(steadyAge)) {
		t.Fatalf("due at %v, %t", at, ok)
	}
	s.retry()
	if s.isWithheld(1) {
		t.Error("the suspect is not released")
	}
}

// Without another reading, the fault may be the hub's. So the suspect is sent again, ever more seldom,
// and is not quarantined.
func TestSuspectThatIsTheOnlyReadingIsDueEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuspects()
		for range 4 {
			s.sessionEnded(byHub(), []uint64{1})
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			at, ok := s.retryAt(time.Now(), true)
			if !ok || time.Until(at) != want*time.Minute {
				t.Fatalf("attempt %d is due in %v, %t", i, time.Until(at), ok)
			}
			time.Sleep(time.Until(at))
			s.retry()
			if _, found := s.sessionEnded(byHub(), []uint64{1}); found || !s.isWithheld(1) {
				t.Fatal("it is quarantined, or not withheld")
			}
		}
		s.retry()
		s.acknowledged(1, time.Hour)
		if s.isWithheld(1) || s.window(64) != 64 {
			t.Error("a reading is still suspected")
		}
	})
}
