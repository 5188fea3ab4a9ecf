package machine

import (
	"errors"
	"fmt"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// A recorder hands records to the observers. Its methods may be called from any goroutine and never block.
type recorder struct {
	fan     *observe.Fan
	keys    *keyring
	device  string
	any     bool // whether there are observers
	noDebug bool // whether records of level debug are left out
}

func newRecorder(s Settings, keys *keyring) *recorder {
	r := &recorder{keys: keys, device: s.Identity.RegistrationID, any: len(s.Observers) > 0, noDebug: s.NoDebug}
	var observers []func(Record)
	for i, observer := range s.Observers {
		if observer != nil {
			observers = append(observers, r.surviving(i, observer))
		}
	}
	r.fan = observe.NewFan(observers...)
	return r
}

// surviving returns an observer that calls observer i and recovers from its panics. Only the first panic is
// reported, because the observer receives the report too and could panic again.
func (r *recorder) surviving(i int, observer func(Record)) func(Record) {
	named := false // whether a panic was reported; only the observer's goroutine uses this variable
	return func(record Record) {
		defer func() {
			if reason := recover(); reason != nil && !named {
				named = true
				r.warn("", fmt.Errorf("machine: observer %d panicked: %v; "+
					"it still receives records, but further panics are not named", i, reason))
			}
		}()
		observer(record)
	}
}

func (r *recorder) emit(record Record) {
	if !r.wants(record.Level) {
		return
	}
	record.Time, record.Device = time.Now(), r.device
	for _, text := range []*string{ // texts that may come from the cloud or from the program
		&record.Message, &record.Event, &record.Error, &record.Hub, &record.FromHub, &record.ID, &record.Name,
	} {
		*text = r.keys.hide(*text)
	}
	r.fan.Emit(record.Describe())
}

// wants reports whether any observer receives records of this level.
func (r *recorder) wants(l observe.Level) bool { return r.any && !(r.noDebug && l == observe.Debug) }

func (r *recorder) warn(message string, err error) {
	r.emit(Record{Level: observe.Warn, Kind: observe.Warning, Message: message, Error: err.Error()})
}

// changed records a transition. The machine calls it after the Action of the old state has returned and
// before the Action of the new state starts.
func (l *life) changed(c Change) {
	now := time.Now()
	r := Record{
		Level: observe.Info, Kind: observe.Transition, From: string(c.From), To: string(c.To), Event: string(c.On),
		SpentMS: now.Sub(l.entered).Milliseconds(),
	}
	l.entered = now
	switch {
	case c.To == Connected:
		r.Phase = observe.Connected
	case c.To == Closing:
		r.Phase = observe.Closing
	case c.To == Failover && (c.From == Connected || c.From == Connecting):
		r.Phase = observe.Disconnected
	}
	if c.To == Connecting || c.To == Connected || c.From == Connecting || c.From == Connected {
		r.Hub = l.assignment().Hub
	}
	if c.To == Connecting || c.To == Provisioning {
		r.Attempt = l.history.Failures + 1
	}
	if c.Cause != nil {
		r.Level, r.Cause, r.Error = observe.Warn, causeOf(c.Cause), c.Cause.Error()
	}
	l.emit(r)
}

// causeOf returns the Cause of a record for an error: one word, which does not change between versions.
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

// waiting records a wait until a time, the event next, which follows the wait, and the cause of the wait.
func (l *life) waiting(until time.Time, next Event, cause error) {
	r := Record{
		Level: observe.Info, Kind: observe.Waiting, State: string(l.machine.State()), Event: string(next),
		Next: until, Cause: causeOf(cause),
	}
	if cause != nil {
		r.Level, r.Error = observe.Warn, cause.Error()
	}
	l.emit(r)
}

func (l *life) illegalEvent(s State, e Event) {
	l.emit(Record{Level: observe.Warn, Kind: observe.IllegalEvent, State: string(s), Event: string(e)})
}

func (l *life) late(s State, after time.Duration) {
	l.warn("", fmt.Errorf("machine: the action of state %s has not returned %s after its context ended; "+
		"the machine cannot change its state until the action returns", s, after))
}
