package machine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

func TestTheClockIsJudgedByTheStrongestEvidence(t *testing.T) {
	var (
		now     = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
		dead    = time.Unix(40, 0) // a clock that nobody has set
		refusal = &transport.Error{Reason: transport.NotAuthorized, Host: "hub.example"}
	)
	answer := func(status int, stamped, updated time.Time) error {
		return &provisioning.Error{Verdict: provisioning.Refused, Status: status, Stamped: stamped, Updated: updated}
	}
	certificate := func(from, until time.Time, reason x509.InvalidReason) error {
		return &transport.Error{Reason: transport.TLSFailed, Host: "hub.example",
			Err: &tls.CertificateVerificationError{
				Err: x509.CertificateInvalidError{Cert: &x509.Certificate{NotBefore: from, NotAfter: until},
					Reason: reason},
			}}
	}
	viaDPS := func(err error) error {
		return &provisioning.Error{Verdict: provisioning.Unavailable, Host: "dps.example", Err: err}
	}
	in := func(d time.Duration) time.Time { return now.Add(d) }
	for name, c := range map[string]struct {
		cause  error
		now    time.Time
		barred bool
		proof  proof
		says   []string // parts of it; none: it says nothing
	}{
		"nothing":                        {nil, now, false, none, nil},
		"a hub that died":                {&transport.Error{Reason: transport.Closed}, now, false, none, nil},
		"a dead clock, and nobody minds": {&transport.Error{Reason: transport.Closed}, dead, false, none, nil},
		"DPS is an hour ahead": {
			answer(429, in(time.Hour), time.Time{}), now, false, stamped,
			[]string{"1 h 0 min behind", "it says 2026-06-01T12:00:00Z", "DPS says 2026-06-01T13:00:00Z"},
		},
		"DPS is an hour behind": {
			answer(401, in(-time.Hour), time.Time{}), now, false, stamped,
			[]string{"1 h 0 min ahead", "DPS says 2026-06-01T11:00:00Z"},
		},
		"DPS is ages ahead": {
			answer(401, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}), now, false, stamped,
			[]string{"clock is 106751 d 23 h behind"},
		},
		"DPS is a little ahead":  {answer(401, in(5*time.Minute), time.Time{}), now, false, stamped, nil},
		"DPS is a little behind": {answer(401, in(-5*time.Minute), time.Time{}), now, false, stamped, nil},
		"just too much": {
			answer(401, in(5*time.Minute+time.Second), time.Time{}), now, false, stamped, []string{"5 min 1 s behind"},
		},
		"DPS agrees, so the key is wrong":  {answer(401, now, time.Time{}), now, true, stamped, nil},
		"DPS's own clock is dead":          {answer(503, dead, time.Time{}), now, false, none, nil},
		"DPS's own clock is dead, as ours": {answer(503, dead, time.Time{}), dead, false, none, nil},
		"a dead clock, and DPS knows better": {
			answer(401, now, time.Time{}), dead, true, stamped,
			[]string{"d 11 h behind", "it says 1970-01-01T00:00:40Z"},
		},
		"an update that is still to come": {
			answer(200, time.Time{}, in(time.Hour)), now, false, outrun,
			[]string{"1 h 0 min or more behind", "at DPS it is 2026-06-01T13:00:00Z or later"},
		},
		"an update of last year":            {answer(200, time.Time{}, in(-9000*time.Hour)), now, false, none, nil},
		"an update by a clock a little off": {answer(200, time.Time{}, in(5*time.Minute)), now, false, none, nil},
		"a certificate of tomorrow": {
			certificate(in(24*time.Hour), in(48*time.Hour), x509.Expired), now, false, early,
			[]string{"1 d 0 h or more behind", "certificate of hub.example is valid from 2026-06-02"},
		},
		"of DPS, and the clock is dead": {
			viaDPS(certificate(now, in(time.Hour), x509.Expired)), dead, false, early,
			[]string{"or more behind: it says 1970-01-01T00:00:40Z"},
		},
		"a certificate of yesterday": {
			certificate(in(-48*time.Hour), in(-24*time.Hour), x509.Expired), now, false, expired,
			[]string{"1 d 0 h or more ahead", "or else the certificate of hub.example has expired",
				"valid until 2026-05-31"},
		},
		"a certificate for something else": {
			certificate(in(24*time.Hour), in(48*time.Hour), x509.IncompatibleUsage), now, false, none, nil,
		},
		"one refusal":                  {refusal, now, false, none, nil},
		"one refusal and a dead clock": {refusal, dead, false, none, nil},
		"refused everywhere": {
			refusal, now, true, suspected,
			[]string{"more than five minutes off, or else the key is wrong", "the clock says 2026-06-01T12:00:00Z"},
		},
		"refused everywhere, a dead clock": {
			refusal, dead, true, unset, []string{"not set: it says 1970-01-01T00:00:40Z"},
		},
		"401 and a dead clock": {
			answer(401, time.Time{}, time.Time{}), dead, false, unset, []string{"not set"},
		},
		"401 and a clock that may be right": {answer(401, time.Time{}, time.Time{}), now, false, none, nil},
		"403 and a dead clock":              {answer(403, time.Time{}, time.Time{}), dead, false, none, nil},
	} {
		f := judge(evidenceIn(c.cause), c.now, (&clock{floor: release}).isSet, c.barred)
		if f.proof != c.proof || (f.says == "") != (c.says == nil) {
			t.Errorf("%s: %d %q, want %d", name, f.proof, f.says, c.proof)
		}
		for _, part := range c.says {
			if !strings.Contains(f.says, part) {
				t.Errorf("%s: %q does not say %q", name, f.says, part)
			}
		}
		if f.says != "" && !strings.HasSuffix(f.says, "; set the clock, or start NTP") {
			t.Errorf("%s: %q does not say what to do", name, f.says)
		}
	}
}

func TestTheEvidenceSaysWhoHasRefusedTheToken(t *testing.T) {
	dps := func(status int, err error) error {
		return &provisioning.Error{Verdict: provisioning.Refused, Status: status, Err: err}
	}
	for name, c := range map[string]struct {
		cause    error
		hub, dps bool
	}{
		"nobody":             {errors.New("x"), false, false},
		"the hub, CONNACK 4": {lost(transport.BadCredentials), true, false},
		"the hub, CONNACK 5": {lost(transport.NotAuthorized), true, false},
		"DPS, CONNACK 5":     {dps(0, lost(transport.NotAuthorized)), false, true},
		"DPS, 401":           {dps(401, nil), false, true},
		"DPS, 403":           {dps(403, nil), false, false},
		"DPS, TLS":           {dps(0, lost(transport.TLSFailed)), false, false},
	} {
		if e := evidenceIn(c.cause); e.hub != c.hub || e.dps != c.dps {
			t.Errorf("%s: the hub %t, DPS %t", name, e.hub, e.dps)
		}
	}
}
