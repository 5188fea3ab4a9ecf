package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// An answer is what the hub answers to a twin request. An empty status means that it does not answer.
type answer struct{ status, properties, body string }

// twinHub returns the script of a hub that answers twin requests. get answers the nth request for
// the twin, report answers the nth patch of reported properties.
func (w *world) twinHub(get func(n int) answer, report func(n int, patch string) answer) func(publish) {
	gets, reports := 0, 0
	return func(p publish) {
		_, id, _ := strings.Cut(p.topic, "$rid=")
		a := answer{status: "204"}
		switch {
		case p.qos == 1:
			p.done(nil)
			return
		case strings.HasPrefix(p.topic, "$iothub/twin/GET/"):
			gets++
			a = get(gets)
		case report != nil:
			reports++
			a = report(reports, p.body)
		}
		if a.status != "" {
			go w.session.send("$iothub/twin/res/"+a.status+"/?$rid="+id+a.properties, a.body)
		}
	}
}

// holding answers with a twin whose desired section is given, without an object's braces, and whose
// reported section is empty.
func holding(desired string) func(int) answer {
	return func(int) answer { return answer{"200", "", `{"desired":{` + desired + `},"reported":{}}`} }
}

// patch has the hub send a patch of the desired properties.
func (w *world) patch(version int, body string) {
	w.session.send(fmt.Sprint("$iothub/twin/PATCH/properties/desired/?$version=", version), body)
	synctest.Wait()
}

// accepting returns settings whose desired handler accepts every value.
func accepting() Settings {
	return Settings{Handlers: Handlers{
		Desired: func(context.Context, payloads.PropertyName, json.RawMessage) (PropertyAck, error) {
			return PropertyAck{}, nil
		},
	}}
}

func ack(name, value string, version int) string {
	return fmt.Sprintf(`{"%s":{"value":%s,"ac":200,"av":%d,"ad":null}}`, name, value, version)
}

func (w *world) wantRequests(since time.Time, want ...string) {
	w.t.Helper()
	w.want("requests", strings.Join(w.requests(since), "\n     "), strings.Join(want, "\n     "))
}

const reportedPatch = "twin/PATCH/properties/reported"

func TestDesiredPropertiesAreReadOnceAndThenFollowed(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		w.connect(w.twinHub(holding(`"a":1,"$version":3`), nil))
		for i, patch := range []string{`{"a":2}`, `{"b":{"x":1}}`, `{"b":{"y":2}}`} {
			time.Sleep(time.Second)
			w.patch(4+i, patch)
			w.patch(4+i, `{"a":"it comes twice"}`)
			w.patch(2, `{"a":"the twin had it"}`)
		}
		w.wantRequests(began, "twin/GET+0", reportedPatch+"+0 "+ack("a", "1", 3), reportedPatch+"+1 "+ack("a", "2", 4),
			reportedPatch+`+2 {"b":{"value":null}}`, reportedPatch+"+2 "+ack("b", `{"x":1}`, 5),
			reportedPatch+`+3 {"b":{"value":null}}`,
			reportedPatch+"+3 "+ack("b", `{"x":1,"y":2}`, 6))
		if r := w.recorded(observe.Handled); len(r) != 4 || r[0] != "desired a 200" {
			t.Errorf("recorded %q", r)
		}
		w.pause()
	})
}

func TestTwinIsReadAgainAfterAMissedOrUnreadablePatch(t *testing.T) {
	for name, breaks := range map[string]func(*world){
		"missed":       func(w *world) { w.patch(5, `{"b":1}`) },
		"unreadable":   func(w *world) { w.patch(4, `{"b":`) },
		"not mergable": func(w *world) { w.patch(4, `{"a":{"y":1}}`) },
	} {
		bubble(t, accepting(), func(t *testing.T, w *world) {
			began := time.Now()
			w.connect(w.twinHub(func(n int) answer {
				if n == 1 {
					return holding(`"a":{"x":1,"x":2},"$version":3`)(n)
				}
				return holding(`"b":1,"$version":7`)(n)
			}, nil))
			breaks(w)
			time.Sleep(time.Minute)
			w.patch(8, `{"b":2}`)
			all := w.requests(began)
			last := reportedPatch + "+60 " + ack("b", "2", 8)
			if gets := strings.Count(strings.Join(all, " "), "twin/GET"); gets != 2 || all[len(all)-1] != last {
				t.Errorf("%s: %s", name, strings.Join(all, "\n"))
			}
			warnings := strings.Join(w.recorded(observe.Warning), "\n")
			if (warnings != "") != (name != "missed") {
				t.Errorf("%s: %s", name, warnings)
			}
			w.pause()
		})
	}
}

// The hub sends patches while it does not give the twin.
func TestPatchesArePendingUntilTheTwinIsRead(t *testing.T) {
	for _, c := range []struct {
		patches, size int
		fit           bool
	}{
		{2, 1, true}, {patchesLimit, 1, true}, {patchesLimit + 1, 1, false}, {3, 300_000, true}, {4, 300_000, false},
	} {
		bubble(t, accepting(), func(t *testing.T, w *world) {
			began, id := time.Now(), ""
			w.connect(func(p publish) {
				if strings.Contains(p.topic, "GET") {
					_, id, _ = strings.Cut(p.topic, "$rid=")
				}
			})
			for i := range c.patches {
				w.patch(4+i, fmt.Sprintf(`{"a":%[1]*d}`, c.size, i))
			}
			w.session.send("$iothub/twin/res/200/?$rid="+id, `{"desired":{"$version":3}}`)
			synctest.Wait()
			time.Sleep(2 * time.Second)
			gets := strings.Count(strings.Join(w.requests(began), " "), "twin/GET")
			handled := len(w.recorded(observe.Handled))
			if handled > 0 != c.fit || gets == 1 != c.fit {
				t.Errorf("after %d patches of %d bytes %d values were handled and the twin was read %d times",
					c.patches, c.size, handled, gets)
			}
			w.pause()
		})
	}
}

// A patch that cannot be read comes while the twin is read: the twin may be older than the patch.
func TestTwinThatMayBeOlderThanALostPatchIsReadAgain(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		w.connect(w.twinHub(func(n int) answer {
			if n == 1 {
				w.session.send("$iothub/twin/PATCH/properties/desired/?$version=4", `{"a":`)
			}
			return holding(`"$version":3`)(n)
		}, nil))
		w.wantRequests(began, "twin/GET+0")
		time.Sleep(time.Minute)
		w.wantRequests(began, "twin/GET+0", "twin/GET+1")
		const outdated = "0 hub: read the twin: it was out of date at once"
		if warnings := w.recorded(observe.Warning); len(warnings) != 2 || warnings[1] != outdated {
			t.Errorf("warnings: %q", warnings)
		}
	})
}

func TestTwinThatCannotBeReadIsRequestedEverMoreSeldom(t *testing.T) {
	for name, get := range map[string]func(int) answer{
		"refused": func(int) answer {
			return answer{"500", "",
				`{"errorCode":500001,"message":"down","trackingId":"T"}`}
		},
		"unreadable": func(int) answer { return answer{"200", "", `{`} },
	} {
		bubble(t, accepting(), func(t *testing.T, w *world) {
			began := time.Now()
			w.connect(w.twinHub(get, nil))
			time.Sleep(100 * time.Second)
			var want []string
			for _, at := range []int{0, 1, 3, 7, 15, 31, 61, 91} {
				want = append(want, fmt.Sprint("twin/GET+", at))
			}
			w.wantRequests(began, want...)
			if r := w.recorded(observe.Warning); len(r) != 8 || name == "refused" &&
				r[0] != `0 hub: read the twin: status 500, error code 500001: "down" (tracking ID T)` {
				t.Errorf("recorded %q", r)
			}
		})
	}
}

func TestHubThatOutdatesEachTwinAtOnceIsAskedEverMoreSeldom(t *testing.T) {
	for name, patch := range map[string]string{"unreadable": `{`, "a gap": `{"a":1}`, "not mergable": `{"a":{"y":1}}`} {
		bubble(t, accepting(), func(t *testing.T, w *world) {
			began, version := time.Now(), 100
			if name == "not mergable" {
				version = 2
			}
			w.connect(w.twinHub(func(n int) answer {
				w.session.send(fmt.Sprint("$iothub/twin/PATCH/properties/desired/?$version=", version), patch)
				return holding(`"a":{"x":1,"x":2},"$version":1`)(n)
			}, nil))
			time.Sleep(100 * time.Second)
			w.report(`{"battery":80}`)
			synctest.Wait()
			all := w.requests(began)
			if gets := strings.Count(strings.Join(all, " "), "twin/GET"); gets < 7 || gets > 9 {
				t.Errorf("%s: the twin was read %d times in 100 s", name, gets)
			}
			w.want(name, all[len(all)-1], reportedPatch+`+100 {"battery":80}`)
		})
	}
}

func TestRetryAfterOfAThrottledReportIsKeptWhateverIsReportedMeanwhile(t *testing.T) {
	bubble(t, Settings{Off: Desired}, func(t *testing.T, w *world) {
		began := time.Now()
		w.report(`{"a":0}`)
		w.connect(w.twinHub(nil, func(n int, _ string) answer {
			return answer{[]string{"429", "429", "204"}[min(n, 3)-1], "&retry-after=7", ""}
		}))
		time.Sleep(500 * time.Millisecond)
		for i := range 13 {
			time.Sleep(time.Second)
			w.report(fmt.Sprintf(`{"a":%d}`, i+1))
		}
		time.Sleep(1500 * time.Millisecond)
		w.wantRequests(began, reportedPatch+`+0 {"a":0}`, reportedPatch+`+7 {"a":6}`, reportedPatch+`+14 {"a":13}`)
	})
}

func TestMoreDesiredPropertiesThanATwinHoldsAreRefused(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		w.connect(w.twinHub(holding(fmt.Sprintf(`"a":"%s","$version":1`, strings.Repeat("x", desiredLimit))), nil))
		time.Sleep(2 * time.Second)
		w.wantRequests(began, "twin/GET+0", "twin/GET+1")
		if r := w.recorded(observe.Warning); len(r) != 2 || r[0] != "0 "+errTooMuch.Error() {
			t.Errorf("recorded %q", r)
		}
	})
}

func TestRetryAfterOfAThrottledTwinIsKept(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		w.connect(w.twinHub(func(n int) answer {
			if n < 3 {
				return answer{"429", "&retry-after=7", ""}
			}
			return holding(`"$version":1`)(n)
		}, nil))
		time.Sleep(time.Minute)
		w.wantRequests(began, "twin/GET+0", "twin/GET+7", "twin/GET+14")
		w.patch(9, `{}`) // the wait was reset
		w.wantRequests(began, "twin/GET+0", "twin/GET+7", "twin/GET+14", "twin/GET+60")
	})
}

func TestTwinRequestWithoutAnAnswerTimesOut(t *testing.T) {
	for _, c := range []struct {
		busy time.Duration // how long the session is busy
		want int           // seconds until the second request
	}{{0, 11}, {5 * time.Second, 11}, {11500 * time.Millisecond, 13}, {time.Hour, 71}} {
		bubble(t, accepting(), func(t *testing.T, w *world) {
			began := time.Now()
			w.session = &fakeSession{ended: make(chan struct{})}
			w.session.busy.Store(c.busy > 0)
			w.session.script = w.twinHub(func(int) answer { return answer{} }, nil)
			time.AfterFunc(c.busy, func() { w.session.busy.Store(false) })
			w.work()
			time.Sleep(time.Duration(c.want)*time.Second + time.Millisecond)
			w.wantRequests(began, "twin/GET+0", fmt.Sprint("twin/GET+", c.want))
			if r := w.recorded(observe.Warning); len(r) != 1 ||
				!strings.Contains(r[0], "hub: timed-out: no answer in time") {
				t.Errorf("recorded %q", r)
			}
			w.disconnect(transport.Closed) // a request is running
			time.Sleep(time.Hour)
		})
	}
}

func TestReportsDoNotWaitForATwinThatCannotBeRead(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		w.report(`{"a":1}`)
		w.connect(w.twinHub(func(int) answer { return answer{} }, nil))
		w.wantRequests(began, "twin/GET+0")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		w.wantRequests(began, "twin/GET+0", reportedPatch+`+10 {"a":1}`)
		w.report(`{"a":2}`)
		synctest.Wait()
		w.wantRequests(began, "twin/GET+0", reportedPatch+`+10 {"a":1}`, reportedPatch+`+10 {"a":2}`)
	})
}

func (w *world) report(patch string) {
	w.t.Helper()
	if err := w.Report(context.Background(), object(w.t, patch)); err != nil {
		w.t.Error(err)
	}
}

func TestReportThatASessionDidNotConfirmIsSentAgain(t *testing.T) {
	bubble(t, Settings{Off: Desired}, func(t *testing.T, w *world) {
		w.connect(w.twinHub(nil, func(int, string) answer { return answer{} }))
		w.report(`{"a":1,"b":1}`)
		synctest.Wait()
		w.report(`{"b":2}`)
		w.disconnect(transport.Closed)
		began := time.Now()
		w.connect(w.twinHub(nil, nil))
		w.wantRequests(began, reportedPatch+`+0 {"a":1,"b":2}`)
		if n, _ := w.End(); n != 0 || len(w.recorded(observe.Warning)) > 0 {
			t.Errorf("%d reports are unconfirmed, or there are warnings", n)
		}
	})
}

func TestRefusedReportedPropertyIsDroppedAndTheRestIsSent(t *testing.T) {
	for _, status := range []string{"400", "413", "499"} {
		bubble(t, Settings{Off: Desired}, func(t *testing.T, w *world) {
			began := time.Now()
			w.report(`{"a":1,"bad":{"x":1},"c":3}`)
			w.connect(w.twinHub(nil, func(_ int, patch string) answer {
				if strings.Contains(patch, "bad") {
					return answer{status, "", `{"message":"no"}`}
				}
				return answer{status: "204"}
			}))
			w.wantRequests(began, reportedPatch+`+0 {"a":1,"bad":{"x":1},"c":3}`, reportedPatch+`+0 {"a":1}`,
				reportedPatch+`+0 {"bad":{"x":1},"c":3}`, reportedPatch+`+0 {"bad":{"x":1}}`,
				reportedPatch+`+0 {"c":3}`)
			want := fmt.Sprintf(`0 hub: report "bad.x": status %s, error code 0: "no" (tracking ID )`, status)
			if r := w.recorded(observe.Warning); len(r) != 1 || r[0] != want {
				t.Errorf("recorded %q", r)
			}
		})
	}
}

func TestTwinRequestThatCannotBePublishedIsTriedAgain(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		w.session = &fakeSession{ended: make(chan struct{})}
		w.session.script = w.twinHub(holding(`"$version":1`), nil)
		w.session.refuse = func(call string) error {
			if call == "publish" && time.Since(began) < time.Second {
				return errors.New("no room")
			}
			return nil
		}
		w.work()
		time.Sleep(2 * time.Second)
		w.wantRequests(began, "twin/GET+1")
		if r := w.recorded(observe.Warning); len(r) != 1 || r[0] != "0 hub: read the twin: no room" {
			t.Errorf("recorded %q", r)
		}
	})
}

func TestReportThatTheHubRefusesForTheMomentIsKept(t *testing.T) {
	for _, status := range []string{"401", "403", "404", "408", "429", "500", "503"} {
		bubble(t, Settings{Off: Desired}, func(t *testing.T, w *world) {
			began := time.Now()
			w.report(`{"a":1,"b":2}`)
			w.connect(w.twinHub(nil, func(n int, _ string) answer {
				if n == 1 {
					return answer{status: status}
				}
				return answer{status: "204"}
			}))
			time.Sleep(time.Minute)
			w.wantRequests(began, reportedPatch+`+0 {"a":1,"b":2}`, reportedPatch+`+1 {"a":1,"b":2}`)
		})
	}
}

// Each fits into a message; together they are larger.
func TestReportThatCannotBeSentInPartsStaysPending(t *testing.T) {
	bubble(t, Settings{Off: Desired}, func(t *testing.T, w *world) {
		w.report(`{"a":1,"b":2}`)
		w.connect(w.twinHub(nil, func(n int, _ string) answer {
			return answer{status: []string{"400", "500", "204"}[min(n, 3)-1]}
		}))
		time.Sleep(time.Second)
		began := time.Now()
		synctest.Wait()
		w.wantRequests(began, reportedPatch+`+0 {"a":1,"b":2}`)
	})
}

func TestAcknowledgementsThatDoNotFitTogetherAreSentInParts(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		var all []string
		for i := range 12 {
			all = append(all, fmt.Sprintf(`"p%02d":"%s"`, i, strings.Repeat("v", 4000)))
		}
		w.connect(w.twinHub(holding(strings.Join(all, ",")+`,"$version":3`), nil))
		synctest.Wait()
		got := strings.Join(w.requests(began), "\n")
		for i := range 12 {
			if strings.Count(got, fmt.Sprintf(`"p%02d":`, i)) != 1 {
				t.Errorf("p%02d is not acknowledged once", i)
			}
		}
		if warnings := w.recorded(observe.Warning); len(warnings) > 0 {
			t.Errorf("warnings: %q", warnings)
		}
	})
}

func TestFlushSubscribesIfNeededAndSendsReports(t *testing.T) {
	bubble(t, Settings{}, func(t *testing.T, w *world) {
		w.session = &fakeSession{ended: make(chan struct{})}
		w.session.script = w.twinHub(nil, nil)
		w.Attach(w.session, "dev1")
		w.Detach()
		if err := w.Flush(t.Context()); err != nil || len(w.session.subscribed) > 0 {
			t.Errorf("nothing is pending: %v, subscribed to %q", err, w.session.subscribed)
		}
		began := time.Now()
		w.report(`{"a":1}`)
		w.session.refuse = func(string) error { return errors.New("broken") }
		if err := w.Flush(t.Context()); err == nil || err.Error() != "hub: send reported properties: broken" {
			t.Error(err)
		}
		w.session.refuse = nil
		w.session.subscribed = nil
		w.session.send("devices/dev1/messages/devicebound/x", "")
		if err := w.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		w.wantRequests(began, reportedPatch+`+0 {"a":1}`)
		if len(w.session.subscribed) != 1 || len(w.session.held) != 1 {
			t.Errorf("subscribed to %q, held %v", w.session.subscribed, w.session.held)
		}
	})
}

func TestFlushAfterWorkDoesNotSubscribeAgain(t *testing.T) {
	bubble(t, Settings{}, func(t *testing.T, w *world) {
		w.connect(w.twinHub(holding(`"$version":1`), nil))
		w.pause()
		subscribed := len(w.session.subscribed)
		w.report(`{"a":1}`)
		if err := w.Flush(t.Context()); err != nil || len(w.session.subscribed) != subscribed {
			t.Errorf("%v, subscribed to %q", err, w.session.subscribed)
		}
		began := time.Now()
		w.report(`{"a":2}`)
		w.session.follow(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := w.Flush(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// The report would be undone by an acknowledgement that is sent again.
func TestReportInPlaceOfAnAcknowledgementOutlivesAReconnect(t *testing.T) {
	twin := holding(`"a":1,"b":1,"c":{"__t":"c","x":1},"$version":3`)
	bubble(t, accepting(), func(t *testing.T, w *world) {
		w.connect(w.twinHub(twin, nil))
		w.report(`{"a":5,"b":{"more":1},"c":null}`)
		synctest.Wait()
		w.disconnect(transport.Closed)
		began := time.Now()
		w.connect(w.twinHub(twin, nil))
		w.wantRequests(began, "twin/GET+0", reportedPatch+"+0 "+ack("b", "1", 3))
	})
}

func TestPatchOfAKnownComponentNeedsNoMarker(t *testing.T) {
	var mu sync.Mutex
	var handled []string
	var s Settings
	s.Handlers.Desired = func(_ context.Context, key payloads.PropertyName, v json.RawMessage) (PropertyAck, error) {
		mu.Lock()
		defer mu.Unlock()
		handled = append(handled, key.String()+"="+string(v))
		return PropertyAck{}, nil
	}
	bubble(t, s, func(t *testing.T, w *world) {
		w.connect(w.twinHub(holding(`"c":{"__t":"c","x":1,"y":2},"$version":1`), nil))
		w.patch(2, `{"c":{"x":3}}`)
		w.patch(3, `{"c":{"z":4,"__t":"other"}}`)
		w.patch(4, `{"d":{"x":1}}`)
		w.patch(5, `{"c":null}`)
		w.patch(6, `{"c":{"x":1}}`) // not known any more
		w.want("handled first", fmt.Sprint(len(handled[:2])), "2")
		w.want("handled", strings.Join(handled[2:5], " "), `c*x=3 c*z=4 d={"x":1}`)
		w.want("removed", fmt.Sprint(len(handled[5:8])), "3")
		w.want("and then", strings.Join(handled[8:], " "), `c={"x":1}`)
	})
}

func TestResultsOfTheDesiredHandlerBecomeAcknowledgements(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		ack  PropertyAck
		err  error
		want string // value, ac, av, ad
	}{
		"zero": {PropertyAck{}, nil, `"value":1,"ac":200,"av":3,"ad":null`},
		"all": {PropertyAck{Value: 2, Code: 202, Description: "soon"}, nil,
			`"value":2,"ac":202,"av":3,"ad":"soon"`},
		"203":               {PropertyAck{Code: 203}, nil, `"value":1,"ac":203,"av":0,"ad":null`},
		"an error":          {PropertyAck{}, failed, `"value":1,"ac":500,"av":3,"ad":"failed"`},
		"an error with 400": {PropertyAck{Code: 400}, failed, `"value":1,"ac":400,"av":3,"ad":"failed"`},
		"an error with 399": {PropertyAck{Code: 399}, failed, `"value":1,"ac":500,"av":3,"ad":"failed"`},
		"an error with 599": {PropertyAck{Code: 599}, failed, `"value":1,"ac":599,"av":3,"ad":"failed"`},
		"100":               {PropertyAck{Code: 100}, nil, `"value":1,"ac":100,"av":3,"ad":null`},
		"99": {PropertyAck{Code: 99}, nil,
			`"value":1,"ac":500,"av":3,"ad":"the handler answered with 99, which is no status"`},
		"600": {PropertyAck{Code: 600}, nil,
			`"value":1,"ac":500,"av":3,"ad":"the handler answered with 600, which is no status"`},
		"null": {PropertyAck{Value: json.RawMessage("null")}, nil, `"value":null,"ac":200,"av":3,"ad":null`},
		"no JSON": {PropertyAck{Value: func() {}}, nil,
			`"value":1,"ac":500,"av":3,"ad":"json: unsupported type: func()"`},
		"a value not to fit": {PropertyAck{Value: strings.Repeat("x", 5000)}, nil,
			`"value":null,"ac":200,"av":3,"ad":"the value is left out: ` +
				`payloads: reported \"a.value\": a string of 5000 bytes, at most 4096 fit"`},
	} {
		var s Settings
		s.Handlers.Desired = func(context.Context, payloads.PropertyName, json.RawMessage) (PropertyAck, error) {
			return c.ack, c.err
		}
		bubble(t, s, func(t *testing.T, w *world) {
			began := time.Now()
			w.connect(w.twinHub(holding(`"a":1,"$version":3`), nil))
			w.want(name, strings.Join(w.requests(began)[1:], " | "), reportedPatch+`+0 {"a":{`+c.want+`}}`)
			w.mu.Lock()
			defer w.mu.Unlock()
			r, failed := w.records[len(w.records)-1], strings.Contains(c.want, `"ad":"`) && name != "all"
			if (r.Level == observe.Warn) != failed || (r.Error != "") != failed {
				t.Errorf("%s: recorded %+v", name, r)
			}
		})
	}
}

func TestDesiredPropertiesWithoutAHandlerAreAnswered(t *testing.T) {
	const refused = `{"a":{"value":1,"ac":404,"av":3,"ad":"this device has no such property"}}`
	bubble(t, Settings{}, func(t *testing.T, w *world) {
		began := time.Now()
		w.connect(w.twinHub(holding(`"a":1,"$version":3`), nil))
		w.wantRequests(began, "twin/GET+0", reportedPatch+"+0 "+refused)
		began = time.Now()
		w.Close(t.Context())
		w.patch(4, `{"a":2}`)
		w.wantRequests(began, "twin/GET+0", reportedPatch+"+0 "+refused,
			reportedPatch+`+0 {"a":{"value":2,"ac":503,"av":4,"ad":"the device is closing"}}`)
		w.patch(5, `{"a":3}`)
		if n := len(w.requests(began)); n != 4 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestTwinIsNotUsedWhenItIsSwitchedOff(t *testing.T) {
	bubble(t, Settings{Off: Desired | Reported}, func(t *testing.T, w *world) {
		began := time.Now()
		w.report(`{"a":1}`)
		w.connect(w.twinHub(holding(`"a":1,"$version":1`), nil))
		w.patch(2, `{"a":2}`) // from an earlier subscription
		w.pause()
		if err := w.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		w.wantRequests(began)
	})
	bubble(t, Settings{Off: Reported}, func(t *testing.T, w *world) {
		began := time.Now()
		w.connect(w.twinHub(holding(`"a":1,"$version":1`), nil))
		if n := len(w.requests(began)); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestAnswerThatIsUnreadableOrNotExpectedIsIgnored(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		w.connect(w.twinHub(func(n int) answer {
			w.session.send("$iothub/twin/res/x/?$rid=1", "")
			w.session.send("$iothub/twin/res/200/?$rid=1", "{}")
			return holding(`"$version":1`)(n)
		}, nil))
		w.wantRequests(began, "twin/GET+0")
		if r := w.recorded(observe.Warning); len(r) != 1 || !strings.Contains(r[0], "twin answer") {
			t.Errorf("recorded %q", r)
		}
		if n := len(w.session.acked()); n != 3 {
			t.Errorf("%d answers were completed", n)
		}
	})
}

// A twin that nobody has changed yet has version 0 at some services.
func TestVersionsOfATwinMayBeginAtZero(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		w.connect(w.twinHub(holding(`"$version":0`), nil))
		if r := w.recorded(observe.Warning); len(r) > 0 {
			t.Errorf("recorded %q", r)
		}
		w.patch(1, `{"a":1}`)
		time.Sleep(time.Minute)
		w.wantRequests(began, "twin/GET+0", reportedPatch+"+0 "+ack("a", "1", 1))
	})
}

func TestAnswerWithAStatusOf300IsAnError(t *testing.T) {
	bubble(t, accepting(), func(t *testing.T, w *world) {
		began := time.Now()
		w.connect(w.twinHub(func(n int) answer {
			a := holding(`"$version":1`)(n)
			a.status = []string{"300", "299"}[min(n, 2)-1]
			return a
		}, nil))
		time.Sleep(time.Minute)
		w.wantRequests(began, "twin/GET+0", "twin/GET+1")
	})
}
