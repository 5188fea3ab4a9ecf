package machine

import (
	"errors"
	"time"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/transport"
)

// A Policy holds the waits and time limits by which the state Failover chooses the next attempt.
type Policy struct {
	// Hold is how long a session must last until the device counts as recovered and the next back-off starts
	// from FirstWait again. Zero means 20 s.
	Hold time.Duration
	// FirstWait bounds the first back-off, which is random. The bound doubles with each back-off, up to
	// LastWait. Zero means 1 s for FirstWait and 60 s for LastWait.
	FirstWait, LastWait time.Duration
	// AfterSilence is the connect timeout of the first attempt at a hub that has become silent. Zero means 2 s.
	AfterSilence time.Duration
	// FirstRest bounds the back-off after DPS has refused the device. The bound doubles with each refusal, up to
	// LastRest. Zero means 1 min for FirstRest and 15 min for LastRest.
	FirstRest, LastRest time.Duration
	// Spread bounds a random delay of the first attempt after the start and after the end of a session, so that
	// the devices of a fleet do not all connect at once. Zero means no delay.
	Spread time.Duration
}

// WithDefaults returns a copy of p in which each zero field has its default.
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
func (p Policy) Check() error { return settings.Durations(p) }

// A history holds the events since the last session that lasted for Policy.Hold, as far as Policy.choose
// needs them.
type history struct {
	assigned bool  // whether the device has an assignment
	last     Event // latest choice, RetryHub or Reprovision; "" means that nothing was chosen yet
	asked    bool  // whether DPS has been asked
	waits    int   // number of back-offs
	failures int   // number of failed attempts

	lived  time.Duration          // duration of the last session
	closes [fightCloses]time.Time // latest times at which the hub ended a session early, the oldest first
	fight  bool                   // whether the latest failure shows a fight over the identity
	fights int                    // number of fights in a row

	// The rest concerns DPS, and is kept when a session has lasted for Policy.Hold.
	throttled, refused int       // number of times in a row that DPS has throttled, and refused, the device
	dpsFrom            time.Time // earliest time at which DPS may be asked again
	doubted            bool      // whether DPS has refused the device, perhaps because the wall clock is wrong
}

// A fight is two processes with the same identity that keep ending each other's sessions, because a hub ends
// the older of two sessions. The device assumes a fight if the hub has ended fightCloses sessions within
// fightWindow, each before it had lasted for Policy.Hold.
const (
	fightCloses = 4
	fightWindow = 2 * time.Minute
)

// A choice is the next attempt, as the state Failover has chosen it.
type choice struct {
	event  Event
	wait   time.Duration // back-off before the attempt
	within time.Duration // connect timeout of the attempt. Zero means Link.ConnectTimeout
}

// choose is the whole policy. It returns the next attempt after the event on, which led to Failover, and the
// error cause. luck is a random number in [0, 1).
//
//	a session ended                          the same hub, at once or spread; after silence with a short timeout
//	the hub cannot be reached                DPS, at once
//	the hub that DPS named fails too         hub and DPS in turn, with exponential back-off and full jitter
//	DPS throttles or refuses                 the hub, if there is one, until DPS may be asked again
//	a fight over the identity                the same hub, after a long back-off
//	the wall clock was set, and may have     the same, but at once; see clockEndsBackOff
//	been why the attempt failed
func (p Policy) choose(on Event, cause error, h history, now time.Time, luck float64) choice {
	var c choice
	switch {
	case h.fight && h.assigned:
		wait := doubled(p.FirstRest, p.LastRest, h.fights-1)
		return choice{event: RetryHub, wait: wait/2 + time.Duration(luck*float64(wait/2))}
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

// failed adds a failure to the history. If the failure came from DPS, failed also sets the time at which DPS
// may be asked again. It follows from the wait that DPS named or from a growing back-off; after a refusal the
// longer of the two counts.
func (h *history) failed(p Policy, on Event, cause error, now time.Time, luck float64) {
	h.fight = false
	if on == Lost { // the end of a session does not count as a failed attempt
		h.ended(p, cause, now)
	} else {
		h.failures++
	}
	e, ok := errors.AsType[*provisioning.Error](cause)
	if !ok {
		return
	}
	h.doubted = e.Verdict == provisioning.Refused && blamesClock(cause)
	half := func(d time.Duration) time.Duration { return d/2 + time.Duration(luck*float64(d/2)) }
	//exhaustive:enforce
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

// ended notes the end of a session, and sets fight if the hub has ended too many sessions early.
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

// chose adds a choice to the history.
func (h *history) chose(c choice) {
	h.last = c.event
	h.asked = h.asked || c.event == Reprovision
	if c.wait > 0 {
		h.waits++
	}
}

// answered notes that DPS has named a hub.
func (h *history) answered() {
	h.assigned, h.throttled, h.refused, h.dpsFrom, h.doubted = true, 0, 0, time.Time{}, false
}

// clockSet notes that somebody has set the wall clock. The next back-off is as short as the first, and if DPS
// may have refused the device because of the wrong clock, DPS may be asked at once.
func (h *history) clockSet() {
	h.waits = 0
	if h.doubted {
		h.refused, h.dpsFrom, h.doubted = 0, time.Time{}, false
	}
}

// held notes that a session has lasted for Policy.Hold.
func (h *history) held() {
	h.last, h.asked, h.waits, h.failures = "", false, 0, 0
	h.closes, h.fights = [fightCloses]time.Time{}, 0
}
