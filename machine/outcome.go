package machine

import (
	"time"

	"giantlizard.example/failover/observe"
)

// An outage lasts from the loss of a hub until the next session that makes progress begins. It has one of three
// outcomes: the device has reconnected to the lost hub, has failed over to another hub, or has failed back to the
// hub from which it had failed over before.
type outage struct {
	since  time.Time // time at which the hub was lost; zero means that there is no outage
	hub    string    // hub of the latest session that made progress, or the stored one; "" means none yet
	origin string    // hub from which the device has failed over, and to which it may fail back; "" means none
}

// begin starts an outage, unless there is one already or no earlier hub is known.
func (o *outage) begin(now time.Time) {
	if o.since.IsZero() && o.hub != "" {
		o.since = now
	}
}

// connect notes that a session with a hub begins.
func (o *outage) connect(hub string) {
	if o.since.IsZero() {
		o.hub = hub
	}
}

// end notes that a session with a hub has made progress, and returns the outcome of the outage. ok is false if
// there was no outage.
func (o *outage) end(hub string) (outcome string, ok bool) {
	lost, since := o.hub, o.since
	o.hub, o.since = hub, time.Time{}
	switch {
	case since.IsZero():
		return "", false
	case hub == lost:
		return observe.Reconnected, true
	case hub == o.origin:
		o.origin = ""
		return observe.FailedBack, true
	case o.origin == "":
		o.origin = lost
	}
	return observe.FailedOver, true
}

// endOutage records the outcome of the outage, if there was one. The outage ended when the current session began.
func (l *life) endOutage() {
	lost, since, hub := l.outage.hub, l.outage.since, l.assignment().Hub
	if outcome, ok := l.outage.end(hub); ok {
		l.emit(Record{
			Level: observe.Info, Kind: observe.Outcome, Outcome: outcome, FromHub: lost, Hub: hub,
			SpentMS: l.accepted.Sub(since).Milliseconds(),
		})
	}
}
