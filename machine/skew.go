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

// tolerance is how wrong a clock may be. Azure refuses the tokens of a clock that is more wrong.
const tolerance = 5 * time.Minute

// A proof says what shows that the wall clock is wrong. After none, the strongest is first.
type proof int

const (
	none      proof = iota
	stamped         // DPS has named the current time
	outrun          // DPS has named a time in the past that is later than our clock
	early           // a certificate is not valid yet
	expired         // a certificate has expired
	unset           // the token is refused, and the clock is before the floor
	suspected       // the token is refused by the hub and by DPS
)

// Evidence is what a failure or an answer of DPS shows about the wall clock. Zero times are not known.
type evidence struct {
	stamped     time.Time // the current time by DPS
	updated     time.Time // an earlier time by DPS
	certificate *x509.Certificate
	host        string // whose certificate it is
	hub, dps    bool   // have refused the token
	answered    bool   // DPS has done so with a 401
}

// evidenceIn returns the evidence of an error.
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

// A finding is what a proof shows: that the clock is wrong, in a sentence for the operator, or right if there
// is no sentence.
type finding struct {
	proof proof
	says  string
}

// judge decides whether a wall clock that shows now is wrong. A clock before the floor, ours or DPS's, has not
// been set. barred means that every service that the device can ask has refused its token.
//
//	DPS has named the current time                  right within the tolerance, otherwise wrong by the difference
//	DPS's last update is later than our clock       behind by at least the difference
//	a certificate is not valid yet                  behind by at least the difference
//	a certificate has expired                       ahead by at least the difference, or the certificate is bad
//	the token is refused before the floor           not set
//	the token is refused by the hub and by DPS      wrong, or the key is wrong
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
			"the clock says %s, and the certificate was valid until %s",
			observe.Span(now.Sub(c.NotAfter)), e.host, utc(now), utc(c.NotAfter))
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

// A suspicion is the evidence against the wall clock since the device was last Connected or the clock was set.
type suspicion struct {
	hub, dps bool          // have refused the token
	proven   proof         // the strongest so far
	set      time.Duration // by how much the clock had been set in all at the latest evidence
}

// weigh adds evidence. It warns of the first finding, and after that of stronger ones only.
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
