package emulator

import "time"

// The faults of token expiry and of an endpoint's clock.
const (
	NoGrace Fault = "no-grace"
	Skew    Fault = "skew"
)

// now returns the time by the clock of the endpoint, which Skew shifts.
func (f *frontend) now() time.Time {
	if a := f.faults[Skew]; a != nil {
		return time.Now().Add(a.Delay)
	}
	return time.Now()
}

// watchToken sets the timer that ends the session when its token has expired and the grace period is
// over. If that time has passed already, watchToken ends the session at once. It is called again
// whenever the endpoint's clock or the grace period changes.
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
		s.hub.close(s, endedByExpiry)
	case left < 10*365*24*time.Hour:
		s.expiryTimer = time.AfterFunc(left, s.expire)
	}
}

func (s *session) expire() {
	c := s.hub.cloud
	c.mu.Lock()
	defer c.unlock()
	if s.hub.byConnection[s.conn] == s {
		s.watchToken() // the endpoint's clock or the grace period may have changed
	}
}

// watchTokens calls watchToken for all sessions of a target.
func (t target) watchTokens() {
	for _, s := range t.sessions() {
		s.watchToken()
	}
}
