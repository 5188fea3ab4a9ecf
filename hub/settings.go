package hub

import (
	"errors"
	"math"
	"time"

	"giantlizard.example/failover/settings"
)

// Delivery says how readings go from the outbox to the hub.
type Delivery struct {
	// Window is how many readings may be in flight at once, at most 10,000. Zero means 64.
	Window int
	// DrainRate is how many readings of the backlog are sent a second, at least 0.001. Zero means 10.
	DrainRate float64
	// Unpaced sends the backlog as fast as the hub acknowledges it, whatever DrainRate is.
	Unpaced bool
	// InOrder sends all readings in the order of their numbers. Otherwise the readings accepted since
	// the session began are sent before the backlog.
	InOrder bool
	// AckTimeout is how long a reading may be in flight before the session ends. Zero means 60 s.
	AckTimeout time.Duration
}

const (
	maxWindow    = 10_000 // MQTT has 65,535 packet identifiers; above a few hundred readings nothing gets faster
	minDrainRate = 0.001
)

// WithDefaults returns d with the defaults in the place of zero fields.
func (d Delivery) WithDefaults() Delivery {
	settings.Default(&d.Window, 64)
	settings.Default(&d.DrainRate, 10)
	settings.Default(&d.AckTimeout, time.Minute)
	return d
}

// Check returns a *settings.FieldError for each field that cannot be used, joined.
func (d Delivery) Check() error {
	d = d.WithDefaults()
	var errs []error
	if d.Window < 1 || d.Window > maxWindow {
		errs = append(errs, settings.Wrong("Window", "is %d: at least 1, at most %d", d.Window, maxWindow))
	}
	if !(d.DrainRate >= minDrainRate) || math.IsInf(d.DrainRate, 1) { // the comparison refuses NaN, too
		errs = append(errs, settings.Wrong("DrainRate", "is %g a second: at least %g", d.DrainRate, minDrainRate))
	}
	errs = append(errs, settings.Duration("AckTimeout", d.AckTimeout))
	return errors.Join(errs...)
}

// WithDefaults returns h with the default in the place of a zero Timeout.
func (h Handlers) WithDefaults() Handlers {
	settings.Default(&h.Timeout, 30*time.Second)
	return h
}

// Check returns a *settings.FieldError for a Timeout that cannot be used.
func (h Handlers) Check() error {
	return settings.Duration("Timeout", h.Timeout)
}
