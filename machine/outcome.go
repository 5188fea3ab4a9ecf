package machine

import (
	"time"

	"giantlizard.example/failover/observe"
)

// An outage lasts from the loss of a hub until the device is Connected again. Its outcome is decided here: the
// device has reconnected to the hub that it lost, has failed over to another one, or has failed back to the
// one that it had left.
type outage struct {
	since  time.Time // zero means that there is no outage
	hub    string    // where the device was Connected last, in this run or before; "" means nowhere yet
	origin string    // the hub that the device failed over from, and may fail back to; "" means none
}

// begin starts an outage, unless there is one or the device was never Connected.
func (o *outage) begin(now time.Time) {
	if o.since.IsZero() && o.hub != "" {
		o.since = now
	}
}

// end notes that the device is Connected to a hub. ok is false if there was no outage.
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

// endOutage records how the outage has ended, if there was one.
func (l *life) endOutage(now time.Time) {
	lost, since, hub := l.outage.hub, l.outage.since, l.assignment().Hub
	if outcome, ok := l.outage.end(hub); ok {
		l.emit(Record{
			Level: observe.Info, Kind: observe.Outcome, Outcome: outcome, FromHub: lost, Hub: hub,
			SpentMS: now.Sub(since).Milliseconds(),
		})
	}
}
