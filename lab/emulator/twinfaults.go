package emulator

import "strconv"

// The faults of twin requests, desired patches and cloud-to-device messages.
const (
	TwinMute         Fault = "twin-mute"
	TwinThrottles    Fault = "twin-throttles"
	TwinError        Fault = "twin-error"
	DuplicateDesired Fault = "duplicate-desired"
	DesiredGap       Fault = "desired-gap"
	DuplicateMessage Fault = "duplicate-message"
)

// answerTwinFault treats a twin request as an active fault demands. It reports whether such a fault
// applied.
func (s *session) answerTwinFault(rid string) bool {
	c := s.hub.cloud
	if s.triggered(TwinMute) != nil {
		c.emit(KindTwin, s.hub.name, s.device.id, "a request was ignored")
		return true
	}
	if a := s.triggered(TwinThrottles); a != nil {
		s.answerTwinError(429, 429001, rid+retryAfterText(a.RetryAfter), "Too many requests.")
		return true
	}
	if a := s.triggered(TwinError); a != nil {
		status := 500
		if a.Status != 0 {
			status = a.Status
		}
		s.answerTwinError(status, status*1000+1, rid, "The service failed.")
		return true
	}
	return false
}

func (s *session) answerTwinError(status, code int, rid, message string) {
	s.hub.cloud.emit(KindTwin, s.hub.name, s.device.id, "answered %d", status)
	body := s.hub.frontend.errorBody(code, message)
	s.answerTwin(func() { s.sendTwinAnswer(strconv.Itoa(status)+"/?$rid="+rid, body) })
}

// sendDesired sends a desired patch: once, or as often as an active fault demands.
func (s *session) sendDesired(patch map[string]any, version int) {
	if _, subscribed := s.filters[desiredFilter]; !subscribed {
		return
	}
	times := 1
	switch {
	case s.triggered(DesiredGap) != nil:
		times = 0
	case s.triggered(DuplicateDesired) != nil:
		times = 2
	}
	if times != 1 {
		s.hub.cloud.emit(KindLizard, s.hub.name, s.device.id, "desired patch %d is sent %d times", version, times)
	}
	for range times {
		s.sendJSON(desiredPatch+strconv.Itoa(version), withVersion(patch, version))
	}
}
