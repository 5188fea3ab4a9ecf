package observe_test

import (
	"time"

	"giantlizard.example/failover/observe"
)

const (
	hubA = "hub-a.azure-devices.net"
	hubB = "hub-b.azure-devices.net"
)

// A story makes the records of one device, each some time after the one before.
type story struct {
	device  string
	now     time.Time
	entered time.Time
	tell    func(observe.Record)
}

func newStory(device string, tell func(observe.Record)) *story {
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	return &story{device: device, now: start, entered: start, tell: tell}
}

func (s *story) say(later time.Duration, r observe.Record) {
	s.now = s.now.Add(later)
	r.Time, r.Device = s.now, s.device
	if r.Level == "" {
		r.Level = observe.Info
	}
	s.tell(r.Describe())
}

func (s *story) move(later time.Duration, from, event, to, hub, cause string) {
	r := observe.Record{Kind: observe.Transition, From: from, Event: event, To: to, Hub: hub, Cause: cause}
	switch {
	case to == "Connected":
		r.Phase = observe.Connected
	case to == "Closing":
		r.Phase = observe.Closing
	case to == "Connecting" || to == "Provisioning":
		r.Attempt = 1
	case from != "Provisioning":
		r.Phase = observe.Disconnected
	}
	if cause != "" {
		r.Level, r.Error = observe.Warn, "transport: "+hub+": "+cause
	}
	r.SpentMS = s.now.Add(later).Sub(s.entered).Milliseconds()
	s.say(later, r)
	s.entered = s.now
}

func (s *story) wait(d time.Duration, event, cause string) {
	s.say(0, observe.Record{Level: observe.Warn, Kind: observe.Waiting, State: "Failover", Event: event,
		Next: s.now.Add(d), Cause: cause, Error: "transport: " + cause})
}

func (s *story) starts() {
	s.move(0, "Unprovisioned", "register", "Provisioning", "", "")
	s.move(412*time.Millisecond, "Provisioning", "assigned", "Connecting", hubA, "")
	s.move(93*time.Millisecond, "Connecting", "connected", "Connected", hubA, "")
}

// blinks is a connection that is lost and found again at the same hub.
func (s *story) blinks(later time.Duration) {
	s.move(later, "Connected", "lost", "Failover", hubA, "reset")
	s.move(0, "Failover", "retry-hub", "Connecting", hubA, "")
	s.move(9*time.Millisecond, "Connecting", "connected", "Connected", hubA, "")
	s.say(0, observe.Record{Kind: observe.Outcome, Outcome: observe.Reconnected, FromHub: hubA, Hub: hubA, SpentMS: 9})
}

// failsOver is a hub that goes away while DPS names another.
func (s *story) failsOver(later time.Duration) {
	s.move(later, "Connected", "lost", "Failover", hubA, "closed")
	s.move(0, "Failover", "retry-hub", "Connecting", hubA, "")
	s.move(4*time.Millisecond, "Connecting", "connect-failed", "Failover", hubA, "refused")
	s.move(0, "Failover", "reprovision", "Provisioning", "", "")
	s.move(240*time.Millisecond, "Provisioning", "assigned", "Connecting", hubB, "")
	s.move(75*time.Millisecond, "Connecting", "connected", "Connected", hubB, "")
	s.say(0, observe.Record{Kind: observe.Outcome, Outcome: observe.FailedOver, FromHub: hubA, Hub: hubB, SpentMS: 319})
}

// fails is a round in which neither the hub nor DPS can be reached.
func (s *story) fails(hubCause, dpsCause string) {
	s.wait(30*time.Second, "retry-hub", dpsCause)
	s.move(30*time.Second, "Failover", "retry-hub", "Connecting", hubA, "")
	s.move(5*time.Second, "Connecting", "connect-failed", "Failover", hubA, hubCause)
	s.wait(20*time.Second, "reprovision", hubCause)
	s.move(20*time.Second, "Failover", "reprovision", "Provisioning", "", "")
	s.move(5*time.Second, "Provisioning", "unavailable", "Failover", "", dpsCause)
}
