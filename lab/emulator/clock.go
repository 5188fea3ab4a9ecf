package emulator

import "time"

// What may go wrong with time.
const (
	NoGrace Fault = "no-grace"
	Skew    Fault = "skew"
)

// now is what an endpoint believes it to be.
func (f *frontend) now() time.Time {
	if a := f.faults[Skew]; a != nil {
		return time.Now().Add(a.Delay)
	}
	return time.Now()
}

// watchToken ends the session some time after its token has expired, at once if that time is over. It is called again when
// that may have changed.
func (s *session) watchToken() {
	if s.expiryTimer != nil {
		s.expiryTimer.Stop()
	}
	grace := s.hub.cloud.config.TokenGrace
	for _, faults := range []faultSet{s.hub.frontend.faults, s.device.faults} {
		if a := faults[NoGrace]; a != nil {
			grace = a.Delay
		}
	}
	left := s.expires.Sub(s.hub.frontend.now()) + grace
	switch {
	case left <= 0:
		s.hub.close(s, "its token has expired")
	case left < 10*365*24*time.Hour:
		s.expiryTimer = time.AfterFunc(left, s.expire)
	}
}

func (s *session) expire() {
	c := s.hub.cloud
	c.mu.Lock()
	defer c.unlock()
	if s.hub.byConnection[s.conn] == s {
		s.watchToken() // the time may have been moved meanwhile
	}
}

// watchTokens looks at the sessions of a target anew.
func (t target) watchTokens() {
	for _, s := range t.sessions() {
		s.watchToken()
	}
}
