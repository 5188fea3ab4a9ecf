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

// tolerance is how far off a clock may be: Azure refuses the tokens of one that is further off.
const tolerance = 5 * time.Minute

// A proof is what shows that the wall clock is wrong, the strongest first but for none.
type proof int

const (
	none      proof = iota
	stamped         // DPS has said what time it is
	outrun          // DPS has named a time of the past that is still to come for us
	early           // a certificate is not valid yet
	expired         // a certificate has expired, or so it seems
	unset           // the token is refused, and the clock stands before the floor
	suspected       // the token is refused, by the hub and by DPS
)

// Evidence is what a failure, or an answer of DPS, has to say about the wall clock.
type evidence struct {
	stamped     time.Time // DPS's clock; zero: not known
	updated     time.Time // a time at which DPS's clock has been; zero: not known
	certificate *x509.Certificate
	host        string // whose certificate it is
	hub, dps    bool   // refused the token
	answered    bool   // DPS did so with a 401
}

// evidenceIn is what an error tells.
func evidenceIn(cause error) evidence {
	var e evidence
	refused := errors.Is(cause, transport.BadCredentials) || errors.Is(cause, transport.NotAuthorized)
	var dps *provisioning.Error
	if errors.As(cause, &dps) {
		e.stamped, e.updated = dps.Stamped, dps.Updated
		e.answered = dps.Status == 401
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

// A finding is what is proven: that the clock is wrong, in a sentence that says what to do, or, without one, that it is right.
type finding struct {
	proof proof
	says  string
}

// judge finds out whether a wall clock is wrong that says now. One before the floor has not been set, whether it is ours or
// DPS's. barred tells whether everyone whom the device can ask has refused its token.
//
//	DPS says what time it is                        that is off, or within the tolerance right
//	DPS's last update is still to come for us       behind, by so much at least
//	a certificate is not valid yet                  behind, by so much at least
//	a certificate has expired                       ahead, by so much at least, or the certificate is bad
//	the token is refused before the floor           not set
//	the token is refused by the hub and by DPS      the key is wrong or the clock is
func judge(e evidence, now, floor time.Time, barred bool) finding {
	off := now.Sub(e.stamped)
	switch c := e.certificate; {
	case !e.stamped.Before(floor) && off.Abs() <= tolerance:
		return finding{proof: stamped}
	case !e.stamped.Before(floor) && off < 0:
		return found(stamped, "%s behind: it says %s, and DPS says %s", observe.Span(off.Abs()), utc(now), utc(e.stamped))
	case !e.stamped.Before(floor):
		return found(stamped, "%s ahead: it says %s, and DPS says %s", observe.Span(off), utc(now), utc(e.stamped))
	case !e.updated.Before(floor) && e.updated.Sub(now) > tolerance:
		return found(outrun, "%s or more behind: it says %s, and at DPS it has been %s",
			observe.Span(e.updated.Sub(now)), utc(now), utc(e.updated))
	case c != nil && now.Before(c.NotBefore):
		return found(early, "%s or more behind: it says %s, and the certificate of %s is valid from %s",
			observe.Span(c.NotBefore.Sub(now)), utc(now), e.host, utc(c.NotBefore))
	case c != nil && now.After(c.NotAfter):
		return found(expired, "%s or more ahead, or else the certificate of %s has expired: "+
			"the clock says %s, and the certificate was valid until %s", observe.Span(now.Sub(c.NotAfter)), e.host, utc(now), utc(c.NotAfter))
	case (barred || e.answered) && now.Before(floor):
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

// A suspicion is what speaks against the wall clock since the device was last Connected or the clock was set.
type suspicion struct {
	hub, dps bool  // refused the token
	proven   proof // the strongest so far

	set time.Duration // by how much the clock had been set in all when evidence last came
}

// weigh takes evidence in, and tells the operator of the first finding, and then only of a stronger one.
func (l *life) weigh(e evidence) {
	t := &l.suspicion
	now, _ := l.clock.look()
	_, set, _ := l.clock.history()
	if minus(set, t.set).Abs() > tolerance {
		*t = suspicion{}
	}
	t.set = set
	t.hub, t.dps = t.hub || e.hub, t.dps || e.dps
	barred := t.dps && (t.hub || !l.history.assigned)
	f := judge(e, now, l.Timing.ClockFloor, barred)
	if f.proof == none || t.proven != none && f.proof >= t.proven {
		return
	}
	t.proven = f.proof
	if f.says != "" {
		l.warn("", fmt.Errorf("machine: %s", f.says))
	}
}
