package hub

import (
	"errors"

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
//	that one is acknowledged: the first is sent again, and condemned if the session ends once more
type suspicion struct {
	met     map[uint64]int // sessions that ended with this reading on its way
	alone   map[uint64]int // and no other
	suspect uint64
	stage   stage
}

// A stage is how far the case against the suspect has come.
type stage int

const (
	nobody  stage = iota
	holding       // it is held back, to see how another fares
	proven        // another was taken; the suspect has one more try
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

// acknowledged clears a reading. It tells whether the one that is held back may be sent again.
func (s *suspicion) acknowledged(n uint64) (release bool) {
	delete(s.met, n)
	delete(s.alone, n)
	switch {
	case s.stage == holding:
		s.stage = proven
		return true
	case s.stage == proven && n == s.suspect:
		s.stage = nobody
	}
	return false
}

// ended takes the end of a session in, why it ended and what was on its way. It tells whether that condemns the suspect.
func (s *suspicion) ended(cause error, onWay []uint64) (condemned uint64, guilty bool) {
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
	case s.stage == proven && n == s.suspect:
		delete(s.met, n)
		delete(s.alone, n)
		s.stage = nobody
		return n, true
	case s.stage != nobody: // another has fared no better
		s.stage = nobody
		clear(s.alone)
	default:
		if s.alone[n]++; s.alone[n] >= 2 {
			s.suspect, s.stage = n, holding
		}
	}
	return 0, false
}
