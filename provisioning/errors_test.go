package provisioning_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

func TestEachAnswerHasItsVerdict(t *testing.T) {
	const failed = `{"status":"failed","registrationState":{"errorCode":400209,"errorMessage":"Not so."}}`
	const failure = `{"errorCode":401002,"trackingId":"8ad0","message":"Not so."}`
	for name, c := range map[string]struct {
		status  int
		more    string
		body    string
		verdict provisioning.Verdict
		code    int
		advice  string // part of it; "none" for none
	}{
		"400":                    {400, "", failure, refused, 401002, "payload"},
		"401":                    {401, "", failure, refused, 401002, "key"},
		"401 without a body":     {401, "", "", refused, 0, "key"},
		"403":                    {403, "", failure, refused, 401002, "enable"},
		"404":                    {404, "", failure, refused, 401002, "ID scope"},
		"405":                    {405, "", failure, refused, 401002, "payload"},
		"409":                    {409, "", failure, unavailable, 401002, "none"},
		"412":                    {412, "", failure, unavailable, 401002, "none"},
		"415":                    {415, "", failure, refused, 401002, "payload"},
		"429":                    {429, "&retry-after=9", failure, throttled, 401002, "none"},
		"429 without a delay":    {429, "", failure, throttled, 401002, "none"},
		"500":                    {500, "", failure, unavailable, 401002, "none"},
		"503 with a delay":       {503, "&retry-after=9", "<html>", unavailable, 0, "none"},
		"failed":                 {200, "", failed, refused, 400209, "error code"},
		"disabled":               {200, "", `{"status":"disabled"}`, refused, 0, "enable"},
		"disabled, at 202":       {202, "", `{"registrationState":{"status":"Disabled"}}`, refused, 0, "enable"},
		"unassigned":             {200, "", `{"status":"unassigned"}`, refused, 0, "ID scope"},
		"a state nobody knows":   {200, "", `{"operationId":"op1","status":"thinking"}`, unavailable, 0, "none"},
		"no state":               {200, "", `{"operationId":"op1"}`, unavailable, 0, "none"},
		"no body":                {200, "", ``, unavailable, 0, "none"},
		"no hub":                 {200, "", `{"status":"assigned","registrationState":{}}`, unavailable, 0, "none"},
		"a hub that is no host":  {200, "", assignedTo("a b"), unavailable, 0, "none"},
		"garbage":                {200, "", "\xff\x00garbage", unavailable, 0, "none"},
		"a garbage 202":          {202, "", "garbage", unavailable, 0, "none"},
		"202 with no operation":  {202, "", `{"status":"assigning"}`, unavailable, 0, "none"},
		"300 and assigning":      {300, "", assigning, refused, 0, "payload"},
		"300 and assigned":       {300, "", assigned, refused, 0, "payload"},
		"499":                    {499, "", failure, refused, 401002, "payload"},
		"a redirection":          {302, "", "", refused, 0, "payload"},
		"a status below success": {100, "", `{"operationId":"op1"}`, unavailable, 0, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(conn *conn, q question) { conn.answer(c.status, q.rid, c.more, c.body) }, func(d *dps) {
				start := time.Now()
				e := d.wantError(c.verdict)
				d.wantTook(start, 0)
				if e.Code != c.code {
					d.Errorf("the code is %d", e.Code)
				}
				if (e.Advice == "") != (c.advice == "none") || c.advice != "none" &&
					!strings.Contains(e.Advice, c.advice) {
					d.Errorf("the advice is %q, which does not contain %s", e.Advice, c.advice)
				}
				if c.body == failure &&
					(e.TrackingID != "8ad0" || e.Message != "Not so." || !strings.Contains(e.Error(), "8ad0")) {
					d.Errorf("the message or the tracking ID of DPS is missing: %+v", e)
				}
				if c.status >= 300 && e.Status != c.status {
					d.Errorf("the status is %d", e.Status)
				}
				if want := time.Duration(strings.Count(c.more, "9")) * 9 * time.Second; e.RetryAfter != want {
					d.Errorf("RetryAfter is %v, want %v", e.RetryAfter, want)
				}
			})
		})
	}
}

func TestARefusedPollEndsTheRegistration(t *testing.T) {
	inBubble(t, func(c *conn, q question) {
		if q.number == 0 {
			c.answer(202, q.rid, "&retry-after=3", assigning)
		} else {
			c.answer(429, q.rid, "&retry-after=5", "")
		}
	}, func(d *dps) {
		if e := d.wantError(throttled, "429"); e.RetryAfter != 5*time.Second {
			d.Errorf("%+v", e)
		}
	})
}

func TestMessagesOfDPSAreShortenedAndQuoted(t *testing.T) {
	inBubble(t, func(c *conn, q question) {
		c.answer(401, q.rid, "", `{"message":"`+strings.Repeat("x", 60000)+`","trackingId":"a\nERROR forged"}`)
	}, func(d *dps) {
		if e := d.wantError(refused); len(e.Error()) > 1000 || strings.Contains(e.Error(), "\n") {
			d.Errorf("%.2000s", e.Error())
		}
	})
}

func TestEachFailureOfTheSessionHasItsVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*dps, *request)
		verdict provisioning.Verdict
		reason  transport.Reason
		advice  string
	}{
		"CONNACK 3":   {func(d *dps, _ *request) { d.connack = 3 }, unavailable, transport.ServerUnavailable, ""},
		"CONNACK 4":   {func(d *dps, _ *request) { d.connack = 4 }, refused, transport.BadCredentials, "key"},
		"CONNACK 5":   {func(d *dps, _ *request) { d.connack = 5 }, refused, transport.NotAuthorized, "clock"},
		"SUBACK 0x80": {func(d *dps, _ *request) { d.suback = 0x80 }, unavailable, transport.SubscriptionRefused, ""},
		"nobody there": {func(_ *dps, r *request) {
			r.ProvisioningHost = "example.com:1"
		}, unavailable, transport.ConnectionRefused, ""},
		"no such name": {func(_ *dps, r *request) {
			r.ProvisioningHost = "https://example.com"
		}, unavailable, transport.NameNotFound, "DNS"},
		"foreign roots": {
			func(_ *dps, r *request) { r.Link.RootCAs = nil }, unavailable, transport.TLSFailed, "CA file",
		},
		"no key": {func(_ *dps, r *request) {
			r.Key = func() (transport.Key, error) { return transport.Key{}, net.ErrClosed }
		}, refused, transport.KeyUnusable, ""},
		"no JSON possible": {func(_ *dps, r *request) { r.Payload = func() {} }, refused, transport.Unknown, "payload"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(d *dps) {
				r := d.request()
				c.change(d, &r)
				start := time.Now()
				_, err := provisioning.Register(d.Context(), r)
				var e *provisioning.Error
				if !errors.As(err, &e) || e.Verdict != c.verdict || e.Host != r.ProvisioningHost ||
					transport.ReasonOf(err) != c.reason {
					d.Fatalf("got %v", err)
				}
				if (c.advice == "") != (e.Advice == "") || !strings.Contains(e.Advice, c.advice) {
					d.Errorf("the advice is %q", e.Advice)
				}
				d.wantTook(start, 0)
			})
		})
	}
}

func TestAnErrorShowsAllThatIsKnown(t *testing.T) {
	inner := errors.New("inner")
	for want, e := range map[string]provisioning.Error{
		"provisioning: dps.example: dps-unavailable":                  {Verdict: unavailable},
		"provisioning: dps.example: dps-throttled: status 429":        {Verdict: throttled, Status: 429},
		"provisioning: dps.example: dps-refused, error code 401002":   {Verdict: refused, Code: 401002},
		`provisioning: dps.example: dps-refused: "Not so."`:           {Verdict: refused, Message: "Not so."},
		`provisioning: dps.example: dps-refused (tracking ID "8ad0")`: {Verdict: refused, TrackingID: "8ad0"},
		"provisioning: dps.example: dps-refused: inner":               {Verdict: refused, Err: inner},
		"provisioning: dps.example: dps-refused; check it":            {Verdict: refused, Advice: "check it"},
		`provisioning: dps.example: dps-refused: status 401, error code 401002: "Not so." ` +
			`(tracking ID "8ad0"): inner; check it`: {
			Verdict: refused, Status: 401, Code: 401002, Message: "Not so.", TrackingID: "8ad0", Err: inner,
			Advice: "check it",
		},
	} {
		e.Host = "dps.example"
		if got := e.Error(); got != want || !errors.Is(&e, e.Verdict) || errors.Is(&e, inner) != (e.Err != nil) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
