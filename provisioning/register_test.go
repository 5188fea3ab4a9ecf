package provisioning_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

func TestAnAssignmentMayComeAtOnce(t *testing.T) {
	inBubble(t, func(c *conn, q question) { c.answer(200, q.rid, "", assigned) }, func(d *dps) {
		start := time.Now()
		d.wantHub()
		d.wantTook(start, 0)
		q := d.questions()
		if len(q) != 1 || q[0].topic != "$dps/registrations/PUT/iotdps-register/?$rid="+q[0].rid ||
			q[0].body != `{"registrationId":"dev1","payload":{"modelId":"dtmi:Sample:Failover;1"}}` {
			d.Errorf("asked %+v", q)
		}
	})
}

func TestTheDeviceIDMayDifferFromTheRegistrationIDOrBeMissing(t *testing.T) {
	for name, want := range map[string]string{`"deviceId":"other",`: "other", ``: "dev1"} {
		inBubble(t, func(c *conn, q question) {
			c.answer(200, q.rid, "", `{"status":"Assigned","registrationState":{`+name+`"assignedHub":"hub.example:8884"}}`)
		}, func(d *dps) {
			if a, err := d.register(); err != nil || a.DeviceID != want || a.Hub != "hub.example:8884" {
				d.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

func TestEachPollWaitsAsLongAsTheAnswerBeforeItSaid(t *testing.T) {
	delays := []struct {
		said string
		want time.Duration
	}{
		{"&retry-after=3", 3 * time.Second}, {"&Retry-After=7", 7 * time.Second}, {"&RETRY-AFTER=1", time.Second},
		{"", 2 * time.Second}, {"&retry-after=0", 2 * time.Second}, {"&retry-after=soon", 2 * time.Second},
	}
	inBubble(t, func(c *conn, q question) {
		time.Sleep(time.Second) // DPS takes its time, which is none of the delay's
		if q.number < len(delays) {
			c.answer(202, q.rid, delays[q.number].said, assigning)
		} else {
			c.answer(200, q.rid, "", assigned)
		}
	}, func(d *dps) {
		d.wantHub()
		q := d.questions()
		seen := map[string]bool{}
		for i, delay := range delays {
			if waited := q[i+1].at.Sub(q[i].at) - time.Second; waited != delay.want {
				d.Errorf("after %q it waited %v, want %v", delay.said, waited, delay.want)
			}
		}
		for i, q := range q {
			if seen[q.rid] || len(q.rid) < 20 {
				d.Errorf("the request ID %q is not a new one", q.rid)
			}
			seen[q.rid] = true
			if want := "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=" + q.rid + "&operationId=op1"; i > 0 && q.topic != want {
				d.Errorf("polled %s", q.topic)
			}
		}
	})
}

func TestTheOperationIsTheLastOneNamed(t *testing.T) {
	bodies := []string{assigning, `{"status":"assigning"}`, ``, `{"operationId":"op/2","status":"assigning"}`, `{"registrationState":{"status":"assigning"}}`}
	inBubble(t, func(c *conn, q question) {
		if q.number < len(bodies) {
			c.answer(202, q.rid, "", bodies[q.number])
		} else {
			c.answer(200, q.rid, "", assigned)
		}
	}, func(d *dps) {
		d.wantHub()
		for i, want := range []string{"", "op1", "op1", "op1", "op/2", "op/2"} {
			if got := d.questions()[i].operation; got != want {
				d.Errorf("poll %d asks for %q, want %q", i, got, want)
			}
		}
	})
}

func TestAnswersToOthersAndToOldRequestsAreDropped(t *testing.T) {
	old := ""
	inBubble(t, func(c *conn, q question) {
		for range 3 {
			c.answer(200, "unknown", "", strings.Replace(assigned, "hub.example", "wrong.example", 1))
			c.answer(401, "unknown", "", "")
			c.answer(200, "unknown", "", "garbage")
			if old != "" {
				c.answer(200, old, "", strings.Replace(assigned, "hub.example", "wrong.example", 1))
				c.answer(200, old, "", "garbage")
				c.answer(404, old, "", "")
			}
			c.send("$dps/registrations/res/200/", assigned)
			c.send("$dps/registrations/res/200/?$rid=", assigned)
			c.send("something/else", assigned)
		}
		if old == "" {
			old = q.rid
			c.answer(202, q.rid, "", assigning)
			c.answer(202, q.rid, "", assigning)
		} else {
			c.answer(200, q.rid, "", assigned)
			c.answer(500, q.rid, "", "")
		}
	}, func(d *dps) {
		start := time.Now()
		d.wantHub()
		d.wantTook(start, 2*time.Second)
	})
}

func TestWhatAnAnswerMeans(t *testing.T) {
	const failure = `{"errorCode":401002,"trackingId":"8ad0","message":"Not so."}`
	for name, c := range map[string]struct {
		status  int
		more    string
		body    string
		verdict provisioning.Verdict
		code    int
		advice  string // part of it; "none" for none
	}{
		"400":                    {400, "", failure, provisioning.Refused, 401002, "payload"},
		"401":                    {401, "", failure, provisioning.Refused, 401002, "key"},
		"401 without a body":     {401, "", "", provisioning.Refused, 0, "key"},
		"403":                    {403, "", failure, provisioning.Refused, 401002, "enable"},
		"404":                    {404, "", failure, provisioning.Refused, 401002, "ID scope"},
		"405":                    {405, "", failure, provisioning.Refused, 401002, "payload"},
		"409":                    {409, "", failure, provisioning.Unavailable, 401002, "none"},
		"412":                    {412, "", failure, provisioning.Unavailable, 401002, "none"},
		"415":                    {415, "", failure, provisioning.Refused, 401002, "payload"},
		"429":                    {429, "&retry-after=9", failure, provisioning.Throttled, 401002, "none"},
		"429 without a delay":    {429, "", failure, provisioning.Throttled, 401002, "none"},
		"500":                    {500, "", failure, provisioning.Unavailable, 401002, "none"},
		"503 with a delay":       {503, "&retry-after=9", "<html>", provisioning.Unavailable, 0, "none"},
		"failed":                 {200, "", `{"status":"failed","registrationState":{"errorCode":400209,"errorMessage":"Not so."}}`, provisioning.Refused, 400209, "error code"},
		"disabled":               {200, "", `{"status":"disabled"}`, provisioning.Refused, 0, "enable"},
		"disabled, at 202":       {202, "", `{"registrationState":{"status":"Disabled"}}`, provisioning.Refused, 0, "enable"},
		"unassigned":             {200, "", `{"status":"unassigned"}`, provisioning.Refused, 0, "ID scope"},
		"a state nobody knows":   {200, "", `{"operationId":"op1","status":"thinking"}`, provisioning.Unavailable, 0, "none"},
		"no state":               {200, "", `{"operationId":"op1"}`, provisioning.Unavailable, 0, "none"},
		"no body":                {200, "", ``, provisioning.Unavailable, 0, "none"},
		"no hub":                 {200, "", `{"status":"assigned","registrationState":{}}`, provisioning.Unavailable, 0, "none"},
		"a hub that is no host":  {200, "", `{"status":"assigned","registrationState":{"assignedHub":"a b"}}`, provisioning.Unavailable, 0, "none"},
		"garbage":                {200, "", "\xff\x00garbage", provisioning.Unavailable, 0, "none"},
		"a garbage 202":          {202, "", "garbage", provisioning.Unavailable, 0, "none"},
		"202 with no operation":  {202, "", `{"status":"assigning"}`, provisioning.Unavailable, 0, "none"},
		"a redirection":          {302, "", "", provisioning.Refused, 0, "payload"},
		"a status below success": {100, "", `{"operationId":"op1"}`, provisioning.Unavailable, 0, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(conn *conn, q question) { conn.answer(c.status, q.rid, c.more, c.body) }, func(d *dps) {
				start := time.Now()
				e := d.wantError(c.verdict)
				d.wantTook(start, 0)
				if e.Code != c.code {
					d.Errorf("the code is %d", e.Code)
				}
				if (e.Advice == "") != (c.advice == "none") || c.advice != "none" && !strings.Contains(e.Advice, c.advice) {
					d.Errorf("the advice is %q, which does not mention %s", e.Advice, c.advice)
				}
				if c.body == failure && (e.TrackingID != "8ad0" || e.Message != "Not so." || !strings.Contains(e.Error(), "8ad0")) {
					d.Errorf("the words of DPS are lost: %+v", e)
				}
				if c.status >= 300 && e.Status != c.status {
					d.Errorf("the status is %d", e.Status)
				}
				if want := time.Duration(strings.Count(c.more, "9")) * 9 * time.Second; e.RetryAfter != want {
					d.Errorf("DPS asks for %v, want %v", e.RetryAfter, want)
				}
			})
		})
	}
}

func TestAPollThatIsRefusedEndsIt(t *testing.T) {
	inBubble(t, func(c *conn, q question) {
		if q.number == 0 {
			c.answer(202, q.rid, "&retry-after=3", assigning)
		} else {
			c.answer(429, q.rid, "&retry-after=5", "")
		}
	}, func(d *dps) {
		if e := d.wantError(provisioning.Throttled, "429"); e.RetryAfter != 5*time.Second {
			d.Errorf("%+v", e)
		}
	})
}

func TestDPSWordsAreBoundedAndQuoted(t *testing.T) {
	inBubble(t, func(c *conn, q question) {
		c.answer(401, q.rid, "", `{"message":"`+strings.Repeat("x", 60000)+`","trackingId":"a\nERROR forged"}`)
	}, func(d *dps) {
		if e := d.wantError(provisioning.Refused); len(e.Error()) > 1000 || strings.Contains(e.Error(), "\n") {
			d.Errorf("%.2000s", e.Error())
		}
	})
}

func TestAMuteDPSIsGivenUp(t *testing.T) {
	answer202 := func(more string) func(*conn, question) {
		return func(c *conn, q question) { c.answer(202, q.rid, more, assigning) }
	}
	for name, c := range map[string]struct {
		script func(*conn, question)
		suback byte
		after  time.Duration
		says   string
	}{
		"that does not answer the subscription": {nil, 0xff, 10 * time.Second, "within 10s"},
		"that does not answer":                  {func(*conn, question) {}, 1, 10 * time.Second, "within 10s"},
		"that does not answer the first poll": {func(c *conn, q question) {
			if q.number == 0 {
				c.answer(202, q.rid, "&retry-after=3", assigning)
			}
		}, 1, 13 * time.Second, "within 10s"},
		"that never comes to an end":     {answer202(""), 1, 2 * time.Minute, "within 2m0s"},
		"that asks for an hour's pause":  {answer202("&retry-after=3600"), 1, 2 * time.Minute, "within 2m0s"},
		"that is slow, and then is mute": {slowThenMute, 1, 2 * time.Minute, "within 2m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, c.script, func(d *dps) {
				d.suback = c.suback
				start := time.Now()
				e := d.wantError(provisioning.Unavailable, c.says)
				d.wantTook(start, c.after)
				if !errors.Is(e, transport.TimedOut) {
					d.Errorf("%v is no time-out", e)
				}
			})
		})
	}
}

func slowThenMute(c *conn, q question) {
	if q.number == 0 {
		c.answer(202, q.rid, "&retry-after=115", assigning)
	}
}

func TestALostSessionIsNoticedAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		script func(*conn, question)
		want   transport.Reason
	}{
		"before the answer": {func(c *conn, q question) { c.NetConn().Close() }, transport.Closed},
		"by RST":            {func(c *conn, q question) { c.NetConn().(interface{ Reset() error }).Reset() }, transport.Reset},
		"while a poll is due": {func(c *conn, q question) {
			c.answer(202, q.rid, "&retry-after=60", assigning)
			time.Sleep(time.Second)
			c.NetConn().Close()
		}, transport.Closed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, c.script, func(d *dps) {
				start := time.Now()
				if e := d.wantError(provisioning.Unavailable); !errors.Is(e, c.want) {
					d.Errorf("%v, want %s", e, c.want)
				}
				if took := time.Since(start); took > time.Second {
					d.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestWhatTheConnectionSays(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*dps, *provisioning.Request)
		verdict provisioning.Verdict
		reason  transport.Reason
		advice  string
	}{
		"CONNACK 3":     {func(d *dps, _ *provisioning.Request) { d.connack = 3 }, provisioning.Unavailable, transport.ServerUnavailable, ""},
		"CONNACK 4":     {func(d *dps, _ *provisioning.Request) { d.connack = 4 }, provisioning.Refused, transport.BadCredentials, "key"},
		"CONNACK 5":     {func(d *dps, _ *provisioning.Request) { d.connack = 5 }, provisioning.Refused, transport.NotAuthorized, "clock"},
		"SUBACK 0x80":   {func(d *dps, _ *provisioning.Request) { d.suback = 0x80 }, provisioning.Unavailable, transport.SubscriptionRefused, ""},
		"nobody there":  {func(_ *dps, r *provisioning.Request) { r.Host = "example.com:1" }, provisioning.Unavailable, transport.Refused, ""},
		"no such name":  {func(_ *dps, r *provisioning.Request) { r.Host = "https://example.com" }, provisioning.Unavailable, transport.NameNotFound, "DNS"},
		"foreign roots": {func(_ *dps, r *provisioning.Request) { r.Link.RootCAs = nil }, provisioning.Unavailable, transport.TLSFailed, "CA file"},
		"no key": {func(_ *dps, r *provisioning.Request) {
			r.Key = func() (transport.Key, error) { return transport.Key{}, net.ErrClosed }
		}, provisioning.Refused, transport.KeyUnusable, ""},
		"no JSON possible": {func(_ *dps, r *provisioning.Request) { r.Payload = func() {} }, provisioning.Refused, transport.Unknown, "payload"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(d *dps) {
				r := d.request()
				c.change(d, &r)
				start := time.Now()
				_, err := provisioning.Register(d.Context(), r)
				var e *provisioning.Error
				if !errors.As(err, &e) || e.Verdict != c.verdict || transport.ReasonOf(err) != c.reason || e.Host != r.Host {
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

func TestRegisterEndsWithItsContext(t *testing.T) {
	for name, script := range map[string]func(*conn, question){
		"while dialing":           nil,
		"while an answer is due":  func(*conn, question) {},
		"while a poll is due":     func(c *conn, q question) { c.answer(202, q.rid, "&retry-after=60", assigning) },
		"while a poll has failed": func(c *conn, q question) { time.Sleep(time.Second); c.answer(500, q.rid, "", "") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, script, func(d *dps) {
				ctx, cancel := context.WithCancel(d.Context())
				time.AfterFunc(time.Second, cancel)
				r := d.request()
				if script == nil {
					r.Link.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, ended(ctx) }
				}
				start := time.Now()
				if _, err := provisioning.Register(ctx, r); !errors.Is(err, context.Canceled) {
					d.Errorf("got %v", err)
				}
				d.wantTook(start, time.Second)
			})
		})
	}
}
