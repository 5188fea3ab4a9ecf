package machine

import (
	"errors"
	"fmt"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// emit hands a record to the observers. It never blocks.
func (d *Device) emit(r Record) {
	if !d.tells(r.Level) {
		return
	}
	r.Time = time.Now()
	r.Device = d.Identity.RegistrationID
	r.Message, r.Error, r.Name = d.hide(r.Message), d.hide(r.Error), d.hide(r.Name)
	d.fan.Emit(r.Describe())
}

// tells whether anybody is to hear of a record.
func (d *Device) tells(l observe.Level) bool {
	return len(d.Observers) > 0 && !(d.NoDebug && l == observe.Debug)
}

// changed records a move of the machine, between the end of one state's Action and the start of the next one's.
func (d *Device) changed(c Change) {
	now := time.Now()
	r := Record{
		Level: observe.Info, Kind: observe.Transition, From: string(c.From), To: string(c.To), Event: string(c.On),
		SpentMS: now.Sub(d.entered).Milliseconds(),
	}
	d.entered = now
	switch {
	case c.To == Connected:
		r.Phase = observe.Connected
	case c.To == Closing:
		r.Phase = observe.Closing
	case c.To == Failover && (c.From == Connected || c.From == Connecting):
		r.Phase = observe.Disconnected
	}
	if c.To == Connecting || c.To == Connected || c.From == Connecting || c.From == Connected {
		r.Hub = d.assignment.Hub
	}
	if c.To == Connecting || c.To == Provisioning {
		r.Attempt = d.history.failures + 1
	}
	if c.Cause != nil {
		r.Level, r.Cause, r.Error = observe.Warn, causeOf(c.Cause), c.Cause.Error()
	}
	d.emit(r)
}

// causeOf is the one stable word for an error.
func causeOf(err error) string {
	var verdict provisioning.Verdict
	var reason transport.Reason
	switch {
	case err == nil:
		return ""
	case errors.As(err, &verdict):
		return string(verdict)
	case errors.As(err, &reason):
		return string(reason)
	}
	return "error"
}

func (d *Device) waiting(until time.Time, next Event, cause error) {
	r := Record{Level: observe.Info, Kind: observe.Waiting, State: string(d.State()), Event: string(next), Next: until, Cause: causeOf(cause)}
	if cause != nil {
		r.Level, r.Error = observe.Warn, cause.Error()
	}
	d.emit(r)
}

func (d *Device) refusedEvent(s State, e Event) {
	d.emit(Record{Level: observe.Warn, Kind: observe.IllegalEvent, State: string(s), Event: string(e)})
}

func (d *Device) late(s State, after time.Duration) {
	d.warn("", fmt.Errorf("machine: the action of state %s has not returned %s after it was told to; nothing moves until it does", s, after))
}

// Warn adds a line of the program's own to the records, at level warn.
func (d *Device) Warn(err error) { d.warn("", err) }

func (d *Device) warn(message string, err error) {
	d.emit(Record{Level: observe.Warn, Kind: observe.Warning, Message: message, Error: err.Error()})
}

// An outage lasts from the loss of a hub until the device is Connected again. Before the first hub there is none to lose.
type outage struct {
	since  time.Time // zero: there is none
	hub    string    // where the device was Connected last, or before it was restarted
	origin string    // the hub that the device has failed over from, and may fail back to
}

// begin notes the loss of the hub; a second loss in the same outage changes nothing.
func (o *outage) begin(now time.Time) {
	if o.since.IsZero() && o.hub != "" {
		o.since = now
	}
}

// restored ends the outage, if there was one, and says how it ended.
func (d *Device) restored(now time.Time) {
	o, hub := &d.outage, d.assignment.Hub
	lost := o.hub
	o.hub = hub
	if o.since.IsZero() {
		return
	}
	r := Record{
		Level: observe.Info, Kind: observe.Outcome, FromHub: lost, Hub: hub,
		SpentMS: now.Sub(o.since).Milliseconds(),
	}
	switch hub {
	case lost:
		r.Outcome = observe.Reconnected
	case o.origin:
		r.Outcome, o.origin = observe.FailedBack, ""
	default:
		r.Outcome = observe.FailedOver
		if o.origin == "" {
			o.origin = lost
		}
	}
	o.since = time.Time{}
	d.emit(r)
}
