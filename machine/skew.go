package machine

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// tolerance is the largest error of the wall clock that is accepted. With a larger error Azure refuses the
// tokens.
const tolerance = 5 * time.Minute

// A proof names the kind of evidence that decided about the wall clock. Except for none, the constants are in
// order from the strongest proof to the weakest.
type proof int

const (
	none      proof = iota
	stamped         // DPS has sent the current time
	outrun          // DPS has sent a past time that is later than the device's clock
	early           // a certificate is not valid yet
	expired         // a certificate has expired
	unset           // the token was refused, and the clock shows a time before the floor
	suspected       // the token was refused by the hub and by DPS
)

// evidence holds what an error or an answer of DPS shows about the wall clock. A zero time means that DPS
// sent none.
type evidence struct {
	stamped     time.Time         // current time by the clock of DPS
	updated     time.Time         // past time by the clock of DPS
	certificate *x509.Certificate // expired or not yet valid certificate; nil means that there is none
	host        string            // host that presented the certificate
	hub, dps    bool              // whether the hub or DPS has refused the token
	answered    bool              // whether DPS refused the token with status 401
}

// evidenceIn returns the evidence about the wall clock that an error contains.
func evidenceIn(cause error) evidence {
	var e evidence
	refused := errors.Is(cause, transport.BadCredentials) || errors.Is(cause, transport.NotAuthorized)
	if dps, ok := errors.AsType[*provisioning.Error](cause); ok {
		e.stamped, e.updated, e.answered = dps.Stamped, dps.Updated, dps.Status == 401
		e.dps = refused || e.answered
	} else {
		e.hub = refused
	}
	var session *transport.Error
	var invalid x509.CertificateInvalidError
	if errors.As(cause, &session) && errors.As(cause, &invalid) && invalid.Reason == x509.Expired {
		e.certificate, e.host = invalid.Cert, session.Host
	}
	return e
}

// blamesClock reports whether an attempt may have failed because the wall clock was wrong.
func blamesClock(cause error) bool {
	e := evidenceIn(cause)
	return e.certificate != nil || e.hub || e.dps
}

// A finding is the result of judge: the proof, and a sentence that tells the operator how the clock is wrong.
// Without a sentence, the clock is right, or nothing is proven if the proof is none.
type finding struct {
	proof proof
	says  string
}

// judge decides whether the wall clock, which shows now, is wrong. isSet reports whether a clock that shows a
// time has been set. barred means that every service that the device can ask has refused its token.
//
//	DPS has sent the current time                   right within the tolerance, otherwise wrong by the difference
//	DPS has sent a past time later than our clock   behind by at least the difference
//	a certificate is not valid yet                  behind by at least the difference
//	a certificate has expired                       ahead by at least the difference, or the certificate is bad
//	the token is refused, the clock is not set       not set
//	the token is refused by the hub and by DPS      wrong, or the key is wrong
func judge(e evidence, now time.Time, isSet func(time.Time) bool, barred bool) finding {
	off := now.Sub(e.stamped)
	switch c := e.certificate; {
	case isSet(e.stamped) && off.Abs() <= tolerance:
		return finding{proof: stamped}
	case isSet(e.stamped) && off < 0:
		return found(stamped, "%s behind: it says %s, and DPS says %s", observe.Span(off.Abs()), utc(now),
			utc(e.stamped))
	case isSet(e.stamped):
		return found(stamped, "%s ahead: it says %s, and DPS says %s", observe.Span(off), utc(now), utc(e.stamped))
	case isSet(e.updated) && e.updated.Sub(now) > tolerance:
		return found(outrun, "%s or more behind: it says %s, and at DPS it is %s or later",
			observe.Span(e.updated.Sub(now)), utc(now), utc(e.updated))
	case c != nil && now.Before(c.NotBefore):
		return found(early, "%s or more behind: it says %s, and the certificate of %s is valid from %s",
			observe.Span(c.NotBefore.Sub(now)), utc(now), e.host, utc(c.NotBefore))
	case c != nil && now.After(c.NotAfter):
		return found(expired, "%s or more ahead, or else the certificate of %s has expired: "+
			"the clock says %s, and the certificate was valid until %s",
			observe.Span(now.Sub(c.NotAfter)), e.host, utc(now), utc(c.NotAfter))
	case (barred || e.answered) && !isSet(now):
		return found(unset, "not set: it says %s, and so the device's token is refused", utc(now))
	case barred:
		return found(suspected, "more than five minutes off, or else the key is wrong: "+
			"the device's token is refused, and the clock says %s", utc(now))
	}
	return finding{}
}

func found(p proof, format string, args ...any) finding {
	return finding{p, "this machine's clock is " + fmt.Sprintf(format, args...) + "; set the clock, or start NTP"}
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// A suspicion collects the evidence against the wall clock since the device was last Connected or the clock
// was last set.
type suspicion struct {
	hub, dps bool          // whether the hub or DPS has refused the token
	proven   proof         // strongest proof so far
	set      time.Duration // sum of all steps of the clock up to the latest evidence
}

// weigh adds evidence to the suspicion. A proof counts only if it is the first, or stronger than all before it.
// weigh warns if such a proof shows that the clock is wrong. After DPS has shown that the clock is right, weaker
// proofs give no warning.
func (l *life) weigh(e evidence) {
	t := &l.suspicion
	now, _ := l.clock.look()
	_, set, _ := l.clock.history()
	if minus(set, t.set).Abs() > tolerance {
		*t = suspicion{}
	}
	t.set = set
	t.hub, t.dps = t.hub || e.hub, t.dps || e.dps
	barred := t.dps && (t.hub || !l.isAssigned())
	f := judge(e, now, l.clock.isSet, barred)
	if f.proof == none || t.proven != none && f.proof >= t.proven {
		return
	}
	t.proven = f.proof
	if f.says != "" {
		l.warn("", fmt.Errorf("machine: %s", f.says))
	}
}
