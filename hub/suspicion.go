package hub

import (
	"errors"
	"time"

	"giantlizard.example/failover/transport"
)

// errPoison is why a reading was condemned.
var errPoison = errors.New("the hub ends the session each time this reading comes, and takes others between")

// A suspicion finds the reading that makes a hub end the session: MQTT has no way to refuse one, so it would come again and
// end the next session, for ever. It outlives sessions, and only sessions that the hub ended count.
//
//	a reading was on its way when two sessions ended: one reading at a time from now on
//	two of those ended while it was alone on its way: it is held back, and the next one is sent
//	that one ends the session too: the hub is to blame, and nothing is held back any more
//	one is acknowledged on a calm session: the first is sent again on that one, and held back again if it ends
//	which has happened three times: it is condemned
//	there is no other to send: it is sent again after a minute, then two, up to an hour, which condemns nothing
//
// A calm session is a second old, which is long beside the moment for which a reading is on its way: a hub that ends sessions by
// itself, and be it every other one with the first reading, condemns nothing.
type suspicion struct {
	met     map[uint64]int // sessions that ended with this reading on its way
	alone   map[uint64]int // and no other
	suspect uint64
	stage   stage
	rounds  int       // sessions that took another reading and ended with the suspect
	held    time.Time // since when the suspect is held back
	took    bool      // this session has taken another meanwhile
	tries   int       // of the suspect when there was no other to send
}

const (
	convictions = 3           // the rounds that condemn
	calm        = time.Second // the age of a session that is calm
	firstTry    = time.Minute // after so long it is sent again when there is no other reading to send; it doubles
	lastTry     = time.Hour
)

// A stage is how far the case against the suspect has come.
type stage int

const (
	nobody  stage = iota
	holding       // it is held back, to see how another fares
	proven        // this session has taken another; the suspect has a try
	only          // there is no other; the suspect has a try that proves nothing if it fails
)

func newSuspicion() *suspicion {
	return &suspicion{met: map[uint64]int{}, alone: map[uint64]int{}}
}

// window is how many readings may be on their way at once.
func (s *suspicion) window(full int) int {
	for _, times := range s.met {
		if times >= 2 {
			return 1
		}
	}
	return full
}

func (s *suspicion) holds(n uint64) bool { return s.stage == holding && n == s.suspect }

// acknowledged clears a reading, on a session of an age. It tells whether the one that is held back may be sent again.
func (s *suspicion) acknowledged(n uint64, age time.Duration) (release bool) {
	delete(s.met, n)
	delete(s.alone, n)
	switch {
	case s.stage == holding && age >= calm:
		s.stage = proven
		return true
	case s.stage == holding:
		s.took = true
	case s.stage != nobody && n == s.suspect:
		s.acquit()
	}
	return false
}

// due is when the suspect is sent again although nothing else is acknowledged, on a session that began then. alone tells
// whether there is nothing else to send.
func (s *suspicion) due(began time.Time, alone bool) (at time.Time, ok bool) {
	switch {
	case s.stage != holding:
		return time.Time{}, false
	case s.took:
		return began.Add(calm), true
	}
	return s.held.Add(min(firstTry<<min(s.tries, 6), lastTry)), alone
}

// try has the suspect sent again, which is due.
func (s *suspicion) try() {
	if s.took {
		s.stage = proven
		return
	}
	s.stage = only
	s.tries++
}

func (s *suspicion) hold() { s.stage, s.held = holding, time.Now() }

func (s *suspicion) acquit() { s.stage, s.rounds, s.tries = nobody, 0, 0 }

// ended takes the end of a session in, why it ended and what was on its way. It tells whether that condemns the suspect.
func (s *suspicion) ended(cause error, onWay []uint64) (condemned uint64, guilty bool) {
	tried, lone := s.stage == proven, s.stage == only
	if tried || lone {
		s.hold()
	}
	s.took = false
	switch transport.ReasonOf(cause) {
	case transport.Closed, transport.Reset:
	default:
		return 0, false // the network's fault, or ours
	}
	isolated := s.window(2) == 1
	for _, n := range onWay {
		s.met[n]++
	}
	if !isolated || len(onWay) != 1 {
		return 0, false
	}
	n := onWay[0]
	switch {
	case tried && n == s.suspect:
		if s.rounds++; s.rounds == convictions {
			delete(s.met, n)
			delete(s.alone, n)
			s.acquit()
			return n, true
		}
	case lone && n == s.suspect:
	case s.stage == holding: // another has fared no better
		s.acquit()
		clear(s.alone)
	default:
		if s.alone[n]++; s.alone[n] >= 2 {
			s.suspect = n
			s.hold()
		}
	}
	return 0, false
}
