package hub

import (
	"errors"
	"maps"
	"slices"
	"time"

	"giantlizard.example/failover/transport"
)

// errEndsSessions is the reason for which a reading is quarantined.
var errEndsSessions = errors.New("the hub ends every session in which this reading is sent, and acknowledges others")

// suspects finds the reading for which a hub ends the session. MQTT has no other way to refuse a
// reading, so the reading would be sent again and end the next session, for ever. The value outlives
// sessions, and counts only sessions that the hub ended.
//
//   - If a reading was in flight when two sessions ended, only one reading at a time is in flight
//     from then on.
//   - If a reading was then the only one in flight when two sessions ended, it is the suspect. The
//     suspect is withheld, and the next reading is sent.
//   - If the next reading ends its session too, the fault is the hub's, and no reading is the suspect
//     any more.
//   - If the next reading is acknowledged on a steady session, the suspect is sent again on that
//     session, and is withheld again if the session ends.
//   - After three such rounds the suspect is quarantined.
//   - If no other reading is left, the suspect is sent again after a minute, then two, up to an
//     hour. This proves nothing and quarantines nothing.
//
// A session is steady when it is a second old, which is long compared with the time that a reading
// is in flight. So a hub that ends sessions on its own, even every other session at its first
// reading, does not cause a quarantine.
type suspects struct {
	ended      map[uint64]int // count of sessions that ended with a reading in flight, by number of the reading
	repeated   int            // count of the readings that were in flight when two or more sessions ended
	endedAlone map[uint64]int // count of sessions that ended with a reading as the only one in flight, by its number
	suspect    uint64
	stage      stage
	// rounds counts the sessions that acknowledged another reading and then ended with the suspect in flight.
	rounds     int
	since      time.Time // time at which the suspect was last withheld
	otherAcked bool      // the hub has acknowledged another reading on this session, after since
	retries    int       // count of attempts to send the suspect when no other reading was left
}

const (
	quarantineRounds = 3
	steadyAge        = time.Second
	firstRetry       = time.Minute // wait before the first retry; the wait doubles each time
	lastRetry        = time.Hour
)

// A stage is what happens to the suspect.
type stage int

const (
	noSuspect stage = iota
	withheld        // not sent, to see whether the hub acknowledges the next reading
	onTrial         // sent again, because this session has acknowledged another reading
	retried         // sent again, because there is no other reading
)

func newSuspects() *suspects {
	return &suspects{ended: map[uint64]int{}, endedAlone: map[uint64]int{}}
}

// window returns how many readings may be in flight: full, or 1 if a reading was in flight when two
// or more sessions ended.
func (s *suspects) window(full int) int {
	if s.repeated > 0 {
		return 1
	}
	return full
}

func (s *suspects) isWithheld(n uint64) bool { return s.stage == withheld && n == s.suspect }

// acknowledged clears the reading n, which the hub acknowledged on a session of the given age. It
// reports whether the suspect is to be sent again.
func (s *suspects) acknowledged(n uint64, age time.Duration) (release bool) {
	s.forget(n)
	switch {
	case s.stage == withheld && age >= steadyAge:
		s.stage = onTrial
		return true
	case s.stage == withheld:
		s.otherAcked = true
	}
	return false
}

// numbers returns the numbers of the readings that were in flight when a session ended, in order.
func (s *suspects) numbers() []uint64 { return slices.Sorted(maps.Keys(s.ended)) }

// forget forgets a reading that was acknowledged or dropped.
func (s *suspects) forget(n uint64) {
	if s.ended[n] >= 2 {
		s.repeated--
	}
	delete(s.ended, n)
	delete(s.endedAlone, n)
	if n == s.suspect {
		s.acquit()
	}
}

// retryAt returns when the suspect is sent again unless the hub acknowledges another reading
// before. began is the time at which this session began; alone says that no other reading is left.
// ok is false if the suspect is not withheld, or must wait because other readings are left.
func (s *suspects) retryAt(began time.Time, alone bool) (at time.Time, ok bool) {
	switch {
	case s.stage != withheld:
		return time.Time{}, false
	case s.otherAcked:
		return began.Add(steadyAge), true
	}
	return s.since.Add(min(firstRetry<<min(s.retries, 6), lastRetry)), alone
}

// retry notes that the suspect is sent again at the time that retryAt returned. It reports whether this is the
// first time without another reading that could show whether the hub is at fault.
func (s *suspects) retry() (firstAlone bool) {
	if s.otherAcked {
		s.stage = onTrial
		return false
	}
	s.stage = retried
	s.retries++
	return s.retries == 1
}

func (s *suspects) withhold() { s.stage, s.since = withheld, time.Now() }

func (s *suspects) acquit() { s.stage, s.rounds, s.retries = noSuspect, 0, 0 }

// sessionEnded notes why a session ended and which readings were in flight. If a reading is to be
// quarantined, sessionEnded returns its number and true.
func (s *suspects) sessionEnded(cause error, inFlight []uint64) (poison uint64, found bool) {
	before := s.stage
	if before == onTrial || before == retried {
		s.withhold()
	}
	s.otherAcked = false
	switch transport.ReasonOf(cause) {
	case transport.Closed, transport.Reset:
	default:
		return 0, false // the hub did not end the session: the network or this device did
	}
	oneAtATime := s.window(2) == 1
	for _, n := range inFlight {
		if s.ended[n]++; s.ended[n] == 2 {
			s.repeated++
		}
	}
	if !oneAtATime || len(inFlight) != 1 {
		return 0, false
	}
	n := inFlight[0]
	switch {
	case before == onTrial && n == s.suspect:
		if s.rounds++; s.rounds == quarantineRounds {
			s.forget(n)
			return n, true
		}
	case before == retried && n == s.suspect:
	case s.stage == withheld: // the hub ended the session for another reading, too
		s.acquit()
		clear(s.endedAlone)
	default:
		if s.endedAlone[n]++; s.endedAlone[n] >= 2 {
			s.suspect = n
			s.withhold()
		}
	}
	return 0, false
}
