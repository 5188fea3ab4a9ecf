package provisioning_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

func TestDPSMayAssignWithoutAPoll(t *testing.T) {
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
			c.answer(200, q.rid, "",
				`{"status":"Assigned","registrationState":{`+name+`"assignedHub":"hub.example:8884"}}`)
		}, func(d *dps) {
			if a, err := d.register(); err != nil || a.DeviceID != want || a.Hub != "hub.example:8884" {
				d.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

func TestEachPollWaitsAsLongAsDPSAskedFor(t *testing.T) {
	delays := []struct {
		said string
		want time.Duration
	}{
		{"&retry-after=3", 3 * time.Second}, {"&Retry-After=7", 7 * time.Second}, {"&RETRY-AFTER=1", time.Second},
		{"", 2 * time.Second}, {"&retry-after=0", 2 * time.Second}, {"&retry-after=soon", 2 * time.Second},
	}
	inBubble(t, func(c *conn, q question) {
		time.Sleep(time.Second) // is not part of the delay
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
				d.Errorf("after %q the poll came %v later, want %v", delay.said, waited, delay.want)
			}
		}
		for i, q := range q {
			if seen[q.rid] || len(q.rid) < 20 {
				d.Errorf("the request ID %q was used before or is short", q.rid)
			}
			seen[q.rid] = true
			want := "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=" + q.rid + "&operationId=op1"
			if i > 0 && q.topic != want {
				d.Errorf("polled %s", q.topic)
			}
		}
	})
}

func TestAnAnswerWithAnUnreadablePropertyCounts(t *testing.T) {
	inBubble(t, func(c *conn, q question) { c.answer(200, q.rid, "&note=100%&=x", assigned) }, func(d *dps) {
		var named []string
		request := d.request()
		request.Warn = func(err error) { named = append(named, err.Error()) }
		if a, err := provisioning.Register(d.Context(), request); err != nil || a != theHub {
			d.Errorf("got %+v, %v", a, err)
		}
		if len(named) != 1 || !strings.Contains(named[0], `"note=100%"`) || !strings.Contains(named[0], `"=x"`) {
			d.Errorf("the warnings are %q", named)
		}
		d.wantHub() // without Warn as well
	})
}

func TestDPSIsPolledAtMostFiveTimesInTenSeconds(t *testing.T) {
	inBubble(t, func(c *conn, q question) { c.answer(202, q.rid, "&retry-after=1", assigning) }, func(d *dps) {
		d.network.SetLatency(400 * time.Millisecond) // the first polls are slow and later ones are not
		time.AfterFunc(8*time.Second, func() { d.network.SetLatency(0) })
		d.wantError(unavailable, "within 2m0s")
		q := d.questions()
		if len(q) < 50 || len(q) > 61 { // in two minutes; the first one registers
			t.Errorf("%d requests", len(q))
		}
		for i := 6; i < len(q); i++ {
			if took := q[i].at.Sub(q[i-5].at); took < 10*time.Second {
				t.Errorf("polls %d to %d came within %s", i-5, i, took)
			}
		}
	})
}

func TestRegistrationsThatSharePollsKeepTheLimitTogether(t *testing.T) {
	inBubble(t, func(c *conn, q question) {
		if q.operation == "" {
			c.answer(202, q.rid, "&retry-after=1", assigning)
		} else {
			c.answer(503, q.rid, "", "")
		}
	}, func(d *dps) {
		r := d.request()
		r.Polls = &provisioning.Polls{}
		begin := time.Now()
		for range 11 {
			if _, err := provisioning.Register(d.Context(), r); !errors.Is(err, unavailable) {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took < 20*time.Second {
			t.Errorf("11 polls within %s", took)
		}
	})
}

func TestPollsNameTheLatestOperation(t *testing.T) {
	bodies := []string{
		assigning, `{"status":"assigning"}`, ``, `{"operationId":"op/2","status":"assigning"}`,
		`{"registrationState":{"status":"assigning"}}`,
	}
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

func TestAnswersToOtherAndOldRequestsAreDropped(t *testing.T) {
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

func TestADPSThatDoesNotAnswerIsUnavailable(t *testing.T) {
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
		"that never comes to an end":      {answer202(""), 1, 2 * time.Minute, "within 2m0s"},
		"that asks for a wait of an hour": {answer202("&retry-after=3600"), 1, 2 * time.Minute, "within 2m0s"},
		"that stops answering late":       {stopLate, 1, 2 * time.Minute, "within 2m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, c.script, func(d *dps) {
				d.suback = c.suback
				start := time.Now()
				e := d.wantError(unavailable, c.says)
				d.wantTook(start, c.after)
				if !errors.Is(e, transport.TimedOut) {
					d.Errorf("%v is no timeout", e)
				}
			})
		})
	}
}

func stopLate(c *conn, q question) {
	if q.number == 0 {
		c.answer(202, q.rid, "&retry-after=115", assigning)
	}
}

func TestTheEndOfTheSessionEndsTheRegistration(t *testing.T) {
	for name, c := range map[string]struct {
		script func(*conn, question)
		want   transport.Reason
	}{
		"before the answer": {func(c *conn, q question) { c.NetConn().Close() }, transport.Closed},
		"by RST": {func(c *conn, q question) {
			c.NetConn().(interface{ Reset() error }).Reset()
		}, transport.Reset},
		"while a poll is due": {func(c *conn, q question) {
			c.answer(202, q.rid, "&retry-after=60", assigning)
			time.Sleep(time.Second)
			c.NetConn().Close()
		}, transport.Closed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, c.script, func(d *dps) {
				start := time.Now()
				if e := d.wantError(unavailable); !errors.Is(e, c.want) {
					d.Errorf("%v, want %s", e, c.want)
				}
				if took := time.Since(start); took > time.Second {
					d.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestTheContextEndsTheRegistration(t *testing.T) {
	for name, script := range map[string]func(c *conn, q question, cancel func()){
		"while dialing":          nil,
		"while an answer is due": func(*conn, question, func()) {},
		"while a poll is due": func(c *conn, q question,
			_ func()) {
			c.answer(202, q.rid, "&retry-after=60", assigning)
		},
		"as the answer comes": func(c *conn, q question, cancel func()) {
			time.Sleep(time.Second)
			cancel()
			c.answer(500, q.rid, "", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var cancel context.CancelFunc
			inBubble(t, func(c *conn, q question) { script(c, q, cancel) }, func(d *dps) {
				var ctx context.Context
				ctx, cancel = context.WithCancel(d.Context())
				time.AfterFunc(time.Second, cancel)
				r := d.request()
				if script == nil {
					r.Link.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, waitFor(ctx) }
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

func TestThePayloadOfACustomAllocationIsReturnedByteForByte(t *testing.T) {
	largest := `"` + strings.Repeat("x", provisioning.MaxPayload-2) + `"`
	for payload, want := range map[string]string{
		``:                            "",
		`,"payload":null`:             "",
		`,"payload":{}`:               "{}",
		`,"payload": { "a" : "<b>" }`: `{ "a" : "<b>" }`,
		`,"payload":"text"`:           `"text"`,
		`,"payload":` + largest:       largest,
	} {
		inBubble(t, func(c *conn, q question) {
			c.answer(200, q.rid, "",
				`{"status":"assigned","registrationState":{"assignedHub":"hub.example"`+payload+`}}`)
		}, func(d *dps) {
			if a, err := d.register(); err != nil || a.Payload != want || a.TooLarge != 0 || a.Hub != "hub.example" {
				d.Errorf("%.80s: got %.200q, %d, %v", payload, a.Payload, a.TooLarge, err)
			}
		})
	}
}

func TestAPayloadAboveTheLimitIsLeftOut(t *testing.T) {
	payload := `"` + strings.Repeat("x", provisioning.MaxPayload-1) + `"`
	inBubble(t, func(c *conn, q question) {
		c.answer(200, q.rid, "",
			`{"status":"assigned","registrationState":{"assignedHub":"hub.example","payload":`+payload+`}}`)
	}, func(d *dps) {
		want := provisioning.Assignment{Hub: "hub.example", DeviceID: "dev1", TooLarge: provisioning.MaxPayload + 1}
		if a, err := d.register(); err != nil || a != want {
			d.Errorf("got %.200q, %d, %v", a.Payload, a.TooLarge, err)
		}
	})
}

func TestTheSessionEndsWithDISCONNECT(t *testing.T) {
	for name, body := range map[string]string{"assigned": assigned, "not assigned": `{"status":"disabled"}`} {
		inBubble(t, func(c *conn, q question) { c.answer(200, q.rid, "", body) }, func(d *dps) {
			_, _ = d.register()
			synctest.Wait()
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.left != 1 {
				d.Errorf("%s: DPS has read %d DISCONNECTs", name, d.left)
			}
		})
	}
}

func TestAnOperationThatFitsNoTopicEndsTheRegistration(t *testing.T) {
	inBubble(t, func(c *conn, q question) {
		c.answer(202, q.rid, "", `{"operationId":"`+strings.Repeat("x", 70_000)+`","status":"assigning"}`)
	}, func(d *dps) {
		start := time.Now()
		d.wantError(unavailable, "the topic has")
		d.wantTook(start, 2*time.Second)
	})
}
