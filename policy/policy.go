// Package policy decides what a device tries next when it has no session, its hub or DPS, and how long it waits
// before. All of it is pure: the caller passes the time and the random numbers. The rules are at Policy.Choose.
package policy

import (
	"errors"
	"time"

	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/transport"
)

// A Policy holds the numbers by which Choose decides.
type Policy struct {
	// Share is the part of the outage so far that passes between two attempts at the hub, and between two at
	// DPS. Zero means 0.2.
	Share float64
	// HubWait and DPSWait are the shortest times between two attempts at the hub and at DPS, and LastWait is the
	// longest. Zero means 1 s, 2 s and 60 s.
	HubWait, DPSWait, LastWait time.Duration
	// HubRate and DPSRate are the largest numbers of connections to one hub and to DPS within a minute, whatever
	// happens. Zero means 25 and 20.
	HubRate, DPSRate int
	// AfterSilence is the connect timeout of the first attempt at a hub that has become silent. Zero means 2 s.
	AfterSilence time.Duration
	// LastConnect is the longest wait for an answer of a host that has accepted the TCP connection. The wait is
	// transport.Link's AnswerTimeout at first. It grows to Share of the outage so far when such a host took too
	// long, as on a slow network, and what sufficed is remembered. Zero means 40 s.
	LastConnect time.Duration
	// FirstRest bounds the back-off after DPS has refused the device, and after a fight over its identity. The
	// bound doubles with each refusal, up to LastRest. Zero means 1 min for FirstRest and 15 min for LastRest.
	FirstRest, LastRest time.Duration
	// Hold is how long a session must last to end the suspicion of a fight over the device's identity. A session
	// that lasted this long also ends an outage if no reading was acknowledged in it. Zero means 20 s.
	Hold time.Duration
	// FightCloses is the number of sessions that the hub must have ended before Hold, and FightWindow the time
	// that must have passed since the first of them, until the device assumes a fight. Zero means 12 and 1 min.
	FightCloses int
	FightWindow time.Duration
	// Spread is for the devices of a fleet, which share the limits of one hub and one DPS. Within Spread each of
	// them tries the hub at most once, and DPS at most once within six times Spread: an S1 hub takes at least
	// 6,000 connections a minute, and DPS takes 1,000 registrations a minute
	// (https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling). Also the first attempts,
	// after a start and after the loss of the hub, are spread over these times. Zero means a device without a fleet.
	Spread time.Duration
}

// dpsSpread is how many times longer than at a hub a fleet needs at DPS.
const dpsSpread = 6

// WithDefaults returns a copy of p in which each zero field has its default.
func (p Policy) WithDefaults() Policy {
	settings.Default(&p.Share, 0.2)
	settings.Default(&p.HubWait, time.Second)
	settings.Default(&p.DPSWait, 2*time.Second)
	settings.Default(&p.LastWait, time.Minute)
	settings.Default(&p.HubRate, 25)
	settings.Default(&p.DPSRate, 20)
	settings.Default(&p.AfterSilence, 2*time.Second)
	settings.Default(&p.LastConnect, 40*time.Second)
	settings.Default(&p.FirstRest, time.Minute)
	settings.Default(&p.LastRest, 15*time.Minute)
	settings.Default(&p.Hold, 20*time.Second)
	settings.Default(&p.FightCloses, 12)
	settings.Default(&p.FightWindow, time.Minute)
	return p
}

// Check returns a *settings.FieldError for each field that cannot be used, joined.
func (p Policy) Check() error {
	errs := []error{settings.Durations(p)}
	if !(p.Share >= 0 && p.Share <= 1) { // NaN is out of range, too
		errs = append(errs, settings.Wrong("Share", "is %v: it must be between 0 and 1", p.Share))
	}
	for _, n := range []struct {
		field string
		value int
	}{{"HubRate", p.HubRate}, {"DPSRate", p.DPSRate}, {"FightCloses", p.FightCloses}} {
		if n.value < 0 {
			errs = append(errs, settings.Wrong(n.field, "is %d: it must not be negative", n.value))
		}
	}
	return errors.Join(errs...)
}

// A Target is what an attempt tries to reach.
type Target int

const (
	Hub Target = iota + 1
	DPS
)

// A Choice is the next attempt.
type Choice struct {
	Target Target
	Wait   time.Duration // back-off before the attempt
}

// Choose is the whole policy. It returns the next attempt: the hub or DPS, whichever may be tried sooner. History
// has one time for each, which follow from these rules:
//
//	the device starts                          the stored hub at once; without one, DPS at once
//	a session ended in which something         the same hub at once; after silence, with a short connect timeout
//	was acknowledged, or that lasted Hold
//	the hub failed for the first time          DPS, at once; if the hub refused the token, the hub once more before
//	the hub failed again                       the hub, after Share of the outage so far
//	DPS failed, or named the same hub          DPS, after Share of the outage so far
//	DPS named another hub                      that hub, at once
//	DPS throttled the device                   DPS, after the time that it named, or Share of the outage so far
//	DPS refused the device                     DPS, after a rest
//	a fight over the identity                  the hub, after a rest
//	the clock was set, the network is back     both, at once
//
// Whatever happens, no more than HubRate and DPSRate attempts start within a minute. In a fleet, the first attempts
// after a start and after the end of a session begin at random times within Spread, and no back-off is shorter.
func (p Policy) Choose(h History, now time.Time) Choice {
	hub := latest(now, h.hubFrom, h.hub.next(p.HubRate))
	dps := latest(now, h.dpsFrom, h.dpsHeld, h.dps.next(p.DPSRate))
	hubFirst := hub.Before(dps) || hub.Equal(dps) && h.last != Hub
	if !h.assigned || !hubFirst {
		return Choice{Target: DPS, Wait: dps.Sub(now)}
	}
	return Choice{Target: Hub, Wait: hub.Sub(now)}
}

// Timeouts bound an attempt.
type Timeouts struct {
	Connect time.Duration // longest dial, if it is shorter than that of transport.Link. Zero means that of the link
	Answer  time.Duration // longest wait for an answer, if it is longer than that of transport.Link
}

// For returns the timeouts of an attempt that begins with those of link.
func (t Timeouts) For(link transport.Link) transport.Link {
	if link = link.WithDefaults(); t.Connect > 0 && t.Connect < link.ConnectTimeout {
		link.ConnectTimeout, link.AnswerTimeout = t.Connect, t.Connect
	}
	link.AnswerTimeout = max(link.AnswerTimeout, t.Answer)
	return link
}

// pace returns the back-off between two attempts at one target. luck is a random number in [0, 1). In a fleet the
// wait is not random, because the first attempts are: so the attempts of all devices stay evenly spread.
func (p Policy) pace(shortest, spread, outage time.Duration, luck float64) time.Duration {
	wait := min(max(time.Duration(p.Share*float64(outage)), shortest), p.LastWait)
	return max(time.Duration((0.75+0.25*luck)*float64(wait)), spread)
}

func (p Policy) hubPace(outage time.Duration, luck float64) time.Duration {
	return p.pace(p.HubWait, p.Spread, outage, luck)
}

func (p Policy) dpsPace(outage time.Duration, luck float64) time.Duration {
	return p.pace(p.DPSWait, dpsSpread*p.Spread, outage, luck)
}

// rest returns the back-off after a refusal. times is the number of refusals before.
func (p Policy) rest(times int, luck float64) time.Duration {
	wait := min(p.FirstRest, p.LastRest)
	for range times {
		if wait >= p.LastRest/2 {
			wait = p.LastRest
			break
		}
		wait *= 2
	}
	return wait/2 + time.Duration(luck*float64(wait/2))
}

func latest(times ...time.Time) (t time.Time) {
	for _, other := range times {
		if other.After(t) {
			t = other
		}
	}
	return t
}
