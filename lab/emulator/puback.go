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

func (s *session) hit(fault Fault) *affliction {
	return s.hub.cloud.hit(fault, s.device.faults, s.hub.door.faults)
}

// acknowledge decides about the PUBACK of what was taken, for which the broker waits: it sends it unless link.mute says no.
func (s *session) acknowledge(p publication) error {
	if p.qos == 0 {
		return nil
	}
	c := s.hub.cloud
	if s.hit(CutBeforePUBACK) != nil {
		s.hub.part(s, "cut before a PUBACK")
		return errGone
	}
	if s.hit(NoPUBACK) != nil {
		s.link.mute = true
		c.tell(KindLizard, s.hub.name, s.device.id, "a PUBACK was not sent")
		return nil
	}
	late := s.hit(LatePUBACK)
	if late == nil && len(s.agenda.tasks) == 0 {
		return nil
	}
	s.link.mute = true
	s.agenda.after(late.delay(), func() { s.link.puback(p.id) })
	return nil
}

// poisoned tells whether a message has the mark on which the hub drops the connection.
func (s *session) poisoned(d Delivery) bool {
	for _, faults := range []afflictions{s.device.faults, s.hub.door.faults} {
		a := faults[Poison]
		if a == nil {
			continue
		}
		marked := bytes.Contains(d.Body, []byte(a.Mark))
		for name, value := range d.Properties {
			marked = marked || strings.Contains(name+"="+value, a.Mark)
		}
		if marked && s.hub.cloud.hit(Poison, faults) != nil {
			return true
		}
	}
	return false
}
