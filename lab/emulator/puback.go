package emulator

import (
	"bytes"
	"strings"
)

// What may go wrong with a device's messages once they have arrived.
const (
	NoPUBACK        Fault = "no-puback"
	LatePUBACK      Fault = "late-puback"
	CutBeforePUBACK Fault = "cut-before-puback"
	Poison          Fault = "poison"
)

func (s *session) triggered(fault Fault) *activeFault {
	return s.hub.cloud.triggered(fault, s.device.faults, s.hub.frontend.faults)
}

// acknowledge decides about the PUBACK of what was taken, for which the broker waits: it sends it unless link.mute says no.
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
	if late == nil && len(s.schedule.tasks) == 0 {
		return nil
	}
	s.conn.withholdPUBACK = true
	s.schedule.after(late.delay(), func() { s.conn.puback(p.id) })
	return nil
}

// poisoned tells whether a message has the mark on which the hub drops the connection.
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
