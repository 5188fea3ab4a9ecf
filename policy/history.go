package policy

import (
	"errors"
	"time"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// refusedRetry is the time after which the hub is tried once more when it has refused the token that it accepted
// before: a hub that has just restarted may refuse a device for a moment.
const refusedRetry = 50 * time.Millisecond

// A History holds what has happened, as far as Choose needs it. In its methods, now is the time by a clock that is
// never set, and luck is a random number in [0, 1).
type History struct {
	Failures int  // number of failed attempts since the last progress
	Fight    bool // whether the latest failure shows a fight over the identity

	assigned bool      // whether the device has an assignment
	since    time.Time // start of the outage; zero means that there is none
	last     Target    // target of the latest attempt of the outage; zero means none

	hubFrom, dpsFrom time.Time     // earliest times of the next attempts by our own pace
	dpsHeld          time.Time     // earliest time of the next registration by what DPS has demanded
	hub, other, dps  bucket        // bounds of the attempts at the hub, at the hub before it, and at DPS
	silent           bool          // whether the hub has become silent, and was not tried since
	patience         time.Duration // wait for an answer that the network seems to need. Zero means that it is unknown
	refusals         int           // number of attempts at the hub in this outage in which it refused the token
	refused          int           // number of answers in a row by which DPS refused the device

	// What follows is about a fight: two processes with the same identity that keep ending each other's
	// sessions, because a hub ends the older of two sessions.
	closes     int       // number of sessions that the hub has ended early, without another explanation
	firstClose time.Time // time of the first of them
	fights     int       // number of fights in a row
}

// Begin notes that the device starts. assigned is whether it has a stored assignment.
func (h *History) Begin(p Policy, assigned bool, now time.Time, luck float64) {
	h.assigned = assigned
	h.spread(p, now, luck)
}

// spread lets the next attempts begin at once, or in a fleet at a random time within its spread.
func (h *History) spread(p Policy, now time.Time, luck float64) {
	h.hubFrom = now
	if h.assigned {
		h.hubFrom = now.Add(time.Duration(luck * float64(p.Spread)))
	}
	h.dpsFrom = now.Add(time.Duration(luck * float64(dpsSpread*p.Spread)))
}

// Try notes that an attempt begins, and returns its timeouts.
func (h *History) Try(p Policy, t Target, now time.Time) Timeouts {
	h.last = t
	timeouts := Timeouts{Answer: h.patience}
	if t == DPS {
		h.dps.take(now, p.DPSRate)
		return timeouts
	}
	if h.silent {
		timeouts.Connect = max(p.AfterSilence, h.patience)
	}
	h.silent = false
	h.hub.take(now, p.HubRate)
	return timeouts
}

// Accept notes that the hub has accepted the device, took after the attempt began.
func (h *History) Accept(took time.Duration) { h.patience = min(h.patience, 2*took) }

// stall lets the next attempts wait longer for an answer if cause says that a host accepted the TCP connection and
// then took too long.
func (h *History) stall(p Policy, cause error, now time.Time) {
	if e, ok := errors.AsType[*transport.Error](cause); ok && e.Stalled {
		h.patience = max(h.patience, min(time.Duration(p.Share*float64(h.outage(now))), p.LastConnect))
	}
}

// An Ending describes how a session ended.
type Ending struct {
	Lived    time.Duration // how long the session lasted
	Progress bool          // whether a reading was acknowledged in it, or it lasted for Policy.Hold
	Cause    error
}

// Lose notes the end of a session.
func (h *History) Lose(p Policy, e Ending, now time.Time, luck float64) {
	h.silent = errors.Is(e.Cause, transport.Silence)
	h.noteClose(p, e, now)
	switch {
	case h.Fight:
		h.hubFrom = now.Add(p.rest(h.fights, luck))
		h.dpsFrom = latest(h.dpsFrom, h.hubFrom)
		h.last = 0
		h.fights++
	case e.Progress:
		h.since, h.last, h.Failures, h.refusals = now, 0, 0, 0
		h.spread(p, now, luck)
	default:
		h.hubFrom = now.Add(p.hubPace(h.outage(now), luck))
	}
}

// noteClose counts a session that the hub has ended early, and sets Fight if there were too many.
func (h *History) noteClose(p Policy, e Ending, now time.Time) {
	h.Fight = false
	reason := transport.ReasonOf(e.Cause)
	switch {
	case e.Lived >= p.Hold:
		h.closes, h.fights = 0, 0
		return
	case reason != transport.Closed && reason != transport.Reset:
		return
	case h.closes == 0:
		h.firstClose = now
	}
	h.closes++
	if h.closes >= p.FightCloses && now.Sub(h.firstClose) >= p.FightWindow {
		h.Fight, h.closes = true, 0
	}
}

// Renew notes that a session has ended because its token ends, so that there is no outage.
func (h *History) Renew() {
	h.since, h.last, h.Failures, h.refusals = time.Time{}, 0, 0, 0
}

// FailHub notes an attempt at the hub that failed.
func (h *History) FailHub(p Policy, cause error, now time.Time, luck float64) {
	h.Fight = false
	h.Failures++
	h.closes = 0 // the hub is down, or the device was moved: that explains the sessions that it ended
	h.stall(p, cause, now)
	h.hubFrom = now.Add(p.hubPace(h.outage(now), luck))
	if errors.Is(cause, transport.NotAuthorized) || errors.Is(cause, transport.BadCredentials) {
		if h.refusals++; h.refusals == 1 {
			h.hubFrom = now.Add(refusedRetry)
			h.dpsFrom = latest(h.dpsFrom, h.hubFrom)
			h.last = 0 // so that Choose prefers the hub
		}
	}
}

// outage returns how long the outage has lasted. It begins an outage if there is none.
func (h *History) outage(now time.Time) time.Duration {
	if h.since.IsZero() {
		h.since = now
	}
	return now.Sub(h.since)
}

// FailDPS notes that DPS has not named a hub.
func (h *History) FailDPS(p Policy, cause error, now time.Time, luck float64) {
	h.Fight = false
	h.Failures++
	h.stall(p, cause, now)
	h.dpsFrom = now.Add(p.dpsPace(h.outage(now), luck))
	var e *provisioning.Error
	if !errors.As(cause, &e) {
		return
	}
	held := e.RetryAfter
	//exhaustive:enforce
	switch e.Verdict {
	case provisioning.Throttled:
		if h.dpsFrom = now; held <= 0 {
			p.DPSWait *= 2
			held = p.dpsPace(h.outage(now), luck)
		}
	case provisioning.Refused:
		held = max(held, p.rest(h.refused, luck))
		h.refused++
	case provisioning.Unavailable:
	}
	h.dpsHeld = now.Add(held)
}

// Answer notes that DPS has named a hub. other is whether it is another hub than before.
func (h *History) Answer(p Policy, other bool, now time.Time, luck float64) {
	h.assigned, h.refused, h.dpsHeld = true, 0, time.Time{}
	if h.since.IsZero() { // a registration at the start
		h.hubFrom, h.dpsFrom = now, now
		return
	}
	h.dpsFrom = now.Add(p.dpsPace(h.outage(now), luck))
	if other || h.refusals > 0 { // the registration may have created the device anew
		h.hubFrom = now
	}
	if other {
		h.closes, h.refusals = 0, 0
		h.hub, h.other = h.other, h.hub
	}
}

// Restart ends the back-offs because something has changed that may have caused the outage, such as the wall clock
// or the network. Their pace begins anew. What DPS has demanded stays, unless forgive says that the change may have
// been the reason why DPS refused the device.
func (h *History) Restart(forgive bool, now time.Time) {
	if !h.since.IsZero() {
		h.since = now
	}
	h.hubFrom, h.dpsFrom = now, now
	if forgive {
		h.refused, h.dpsHeld = 0, time.Time{}
	}
}
