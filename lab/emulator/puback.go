package emulator

import (
	"bytes"
	"strings"
)

// The faults of telemetry that has reached the hub.
const (
	NoPUBACK        Fault = "no-puback"
	LatePUBACK      Fault = "late-puback"
	CutBeforePUBACK Fault = "cut-before-puback"
	Poison          Fault = "poison"
)

func (s *session) triggered(fault Fault) *activeFault {
	return s.hub.cloud.triggered(fault, s.device.faults, s.hub.frontend.faults)
}

// decidePUBACK decides whether and when the PUBACK of a publication is sent. The broker sends the
// PUBACK at once, unless decidePUBACK has set withholdPUBACK.
func (s *session) decidePUBACK(p publication) error {
	if p.qos == 0 {
		return nil
	}
	c := s.hub.cloud
	if s.triggered(CutBeforePUBACK) != nil {
		s.hub.close(s, "cut before a PUBACK")
		return errEnded
	}
	if s.triggered(NoPUBACK) != nil {
		s.conn.withholdPUBACK = true
		c.emit(KindLizard, s.hub.name, s.device.id, "a PUBACK was not sent")
		return nil
	}
	late := s.triggered(LatePUBACK)
	if late == nil && len(s.pubacks.tasks) == 0 {
		return nil
	}
	s.conn.withholdPUBACK = true
	s.pubacks.after(late.delay(), func() { s.conn.puback(p.id) })
	return nil
}

// hasPoison reports whether a message contains the mark of an active fault Poison.
func (s *session) hasPoison(d Delivery) bool {
	for _, faults := range []faultSet{s.device.faults, s.hub.frontend.faults} {
		a := faults[Poison]
		if a == nil {
			continue
		}
		marked := bytes.Contains(d.Body, []byte(a.Mark))
		for name, value := range d.Properties {
			marked = marked || strings.Contains(name+"="+value, a.Mark)
		}
		if marked && s.hub.cloud.triggered(Poison, faults) != nil {
			return true
		}
	}
	return false
}
