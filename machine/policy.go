package machine

import (
	"errors"
	"time"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/transport"
)

// A Policy is the numbers by which Failover chooses. The zero value of each means the default that stands beside it.
type Policy struct {
	Hold         time.Duration // 20 s: a connection that lasted this long ends the trouble, and the back-off starts afresh
	FirstWait    time.Duration // 1 s: the first back-off is drawn between 0 and this
	LastWait     time.Duration // 60 s: it doubles up to this
	AfterSilence time.Duration // 2 s: bound on the quick attempt at a hub that fell silent, which may swallow it too
	FirstRest    time.Duration // 1 min: rest after DPS has refused the device
	LastRest     time.Duration // 15 min: it doubles up to this
	Spread       time.Duration // 0: over this a fleet spreads its first attempts, at the start and when all lose their hub
}

// WithDefaults returns p with the defaults in the place of zero fields.
func (p Policy) WithDefaults() Policy {
	settings.Default(&p.Hold, 20*time.Second)
	settings.Default(&p.FirstWait, time.Second)
	settings.Default(&p.LastWait, time.Minute)
	settings.Default(&p.AfterSilence, 2*time.Second)
	settings.Default(&p.FirstRest, time.Minute)
	settings.Default(&p.LastRest, 15*time.Minute)
	return p
}

// Check returns a *settings.FieldError for each field that cannot be used, joined.
func (p Policy) Check() error {
	var errs []error
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Hold", p.Hold}, {"FirstWait", p.FirstWait}, {"LastWait", p.LastWait}, {"AfterSilence", p.AfterSilence},
		{"FirstRest", p.FirstRest}, {"LastRest", p.LastRest}, {"Spread", p.Spread},
	} {
		if d.value < 0 {
			errs = append(errs, settings.Wrong(d.field, "is negative"))
		}
	}
	return errors.Join(errs...)
}

// A history is what has happened since the last connection that held, as far as the choice depends on it.
type history struct {
	assigned bool  // a hub is known
	last     Event // RetryHub or Reprovision, whatever was tried last; "" at first
	asked    bool  // DPS has been asked
	waits    int   // how often the device has waited
	failures int   // how many tries failed

	lived  time.Duration          // how long the last session lasted
	closes [fightCloses]time.Time // when the hub last ended sessions that did not hold, the oldest first
	fight  bool                   // the last of them makes it a fight
	fights int                    // in a row

	// These outlive the trouble: they are between the device and DPS.
	throttled, refused int       // in a row
	dpsFrom            time.Time // DPS is not asked before
	doubted            bool      // because it has refused the device, for which a wrong clock may have been the reason
}

// Two processes with one identity end each other's session for ever, because a hub lets the newest in. So many sessions
// that the hub ended before they held, within so long, are taken for such a fight.
const (
	fightCloses = 4
	fightWindow = 2 * time.Minute
)

// A choice is what Failover does next.
type choice struct {
	event  Event
	wait   time.Duration // before it
	within time.Duration // bound on the attempt; 0: the usual one
}

// choose is the whole policy. on is the event that led to Failover, cause why, and luck a random number in [0, 1).
//
//	a session ended                          the same hub, at once or spread; after silence with a short bound
//	the hub cannot be reached                DPS, at once
//	the hub that DPS named fails too         hub and DPS in turn, with exponential back-off and full jitter
//	DPS throttles or refuses                 not DPS before its time; the hub's turns go on
//	a fight over the identity                the same hub, after a long rest
//	the wall clock was set, and may have     the same, but at once; see Device.freed
//	been why the attempt failed
func (p Policy) choose(on Event, cause error, h history, now time.Time, luck float64) choice {
	var c choice
	switch {
	case h.fight && h.assigned:
		rest := doubled(p.FirstRest, p.LastRest, h.fights-1)
		return choice{event: RetryHub, wait: rest/2 + time.Duration(luck*float64(rest/2))}
	case on == Lost && h.last == "" && h.assigned:
		c.event = RetryHub
		if errors.Is(cause, transport.Silence) {
			c.within = p.AfterSilence
		}
	case !h.asked:
		c.event = Reprovision
	case h.last == Reprovision:
		c = choice{event: RetryHub, wait: p.backOff(h, luck)}
	default:
		c = choice{event: Reprovision, wait: p.backOff(h, luck)}
	}
	if on == Lost {
		c.wait = max(c.wait, time.Duration(luck*float64(p.Spread)))
	}
	if !h.assigned {
		c.event, c.within = Reprovision, 0
	}
	if c.event == Reprovision && now.Add(c.wait).Before(h.dpsFrom) {
		if !h.assigned {
			return choice{event: Reprovision, wait: h.dpsFrom.Sub(now)}
		}
		return choice{event: RetryHub, wait: p.backOff(h, luck)}
	}
	return c
}

func (p Policy) backOff(h history, luck float64) time.Duration {
	return time.Duration(luck * float64(doubled(p.FirstWait, p.LastWait, h.waits)))
}

func doubled(first, last time.Duration, times int) time.Duration {
	d := first
	for range times {
		if d >= last/2 {
			return last
		}
		d *= 2
	}
	return min(d, last)
}

// failed takes a failure into the history. What DPS asked for, or a growing rest, decides when it may be asked again.
func (h *history) failed(p Policy, on Event, cause error, now time.Time, luck float64) {
	h.fight = false
	if on == Lost { // which is no failed try
		h.ended(p, cause, now)
	} else {
		h.failures++
	}
	var e *provisioning.Error
	if !errors.As(cause, &e) {
		return
	}
	h.doubted = e.Verdict == provisioning.Refused && blamesClock(cause)
	half := func(d time.Duration) time.Duration { return d/2 + time.Duration(luck*float64(d/2)) }
	switch e.Verdict {
	case provisioning.Throttled:
		wait := e.RetryAfter
		if wait <= 0 {
			wait = half(2 * doubled(p.FirstWait, p.LastWait, h.throttled))
		}
		h.throttled++
		h.dpsFrom = now.Add(wait)
	case provisioning.Refused:
		wait := max(e.RetryAfter, half(doubled(p.FirstRest, p.LastRest, h.refused)))
		h.refused++
		h.dpsFrom = now.Add(wait)
	case provisioning.Unavailable:
		h.dpsFrom = now.Add(e.RetryAfter)
	}
}

// ended looks for a fight in how sessions end.
func (h *history) ended(p Policy, cause error, now time.Time) {
	reason := transport.ReasonOf(cause)
	if h.lived >= p.Hold || reason != transport.Closed && reason != transport.Reset {
		return
	}
	copy(h.closes[:], h.closes[1:])
	h.closes[fightCloses-1] = now
	if first := h.closes[0]; !first.IsZero() && now.Sub(first) <= fightWindow {
		h.fight = true
		h.fights++
		h.closes = [fightCloses]time.Time{}
	}
}

// chose takes a choice into the history.
func (h *history) chose(c choice) {
	h.last = c.event
	h.asked = h.asked || c.event == Reprovision
	if c.wait > 0 {
		h.waits++
	}
}

// answered is DPS naming a hub.
func (h *history) answered() {
	h.assigned, h.throttled, h.refused, h.dpsFrom, h.doubted = true, 0, 0, time.Time{}, false
}

// clockSet is that the wall clock was set: the back-off starts afresh, and DPS may think better of the device.
func (h *history) clockSet() {
	h.waits = 0
	if h.doubted {
		h.refused, h.dpsFrom, h.doubted = 0, time.Time{}, false
	}
}

// held is a connection that lasted.
func (h *history) held() {
	h.last, h.asked, h.waits, h.failures = "", false, 0, 0
	h.closes, h.fights = [fightCloses]time.Time{}, 0
}
