package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

const (
	commandFilter = "devices/dev1/messages/devicebound/#"
	methodFilter  = "$iothub/methods/POST/#"
	answerFilter  = "$iothub/twin/res/#"
	desiredFilter = "$iothub/twin/PATCH/properties/desired/#"
)

func TestOnlyWhatIsSwitchedOnIsSubscribed(t *testing.T) {
	handled := Handlers{Command: func(context.Context, payloads.Message) error { return nil }}
	for _, c := range []struct {
		s       Settings
		on, off string // as it is wanted
	}{
		{
			Settings{Handlers: handled}, commandFilter + " " + methodFilter + " " + answerFilter + " " +
				desiredFilter, "",
		},
		{Settings{}, methodFilter + " " + answerFilter + " " + desiredFilter, commandFilter},
		{Settings{Handlers: handled, Off: Commands | Methods}, answerFilter + " " + desiredFilter,
			commandFilter + " " + methodFilter},
		{Settings{Off: Desired | Commands}, methodFilter + " " + answerFilter, commandFilter + " " + desiredFilter},
		{Settings{Off: Reported | Methods}, answerFilter + " " + desiredFilter, commandFilter + " " + methodFilter},
		{Settings{Off: Desired | Reported | Methods}, "",
			commandFilter + " " + methodFilter + " " + answerFilter + " " + desiredFilter},
	} {
		for _, present := range []bool{false, true} {
			bubble(t, c.s, func(t *testing.T, w *world) {
				w.session = &fakeSession{ended: make(chan struct{}), present: present}
				w.session.script = w.twinHub(holding(`"$version":1`), nil)
				w.work()
				w.want("subscribed", strings.Join(w.session.subscribed, " "), c.on)
				off := c.off
				if !present {
					off = ""
				}
				w.want("unsubscribed", strings.Join(w.session.unsubscribed, " "), off)
			})
		}
	}
}

func TestSubscriptionThatFailsEndsTheWork(t *testing.T) {
	broken := errors.New("broken")
	for _, call := range []string{"subscribe", "unsubscribe"} {
		for _, refused := range []error{broken, errSilent} {
			bubble(t, Settings{}, func(t *testing.T, w *world) {
				began := time.Now()
				w.session = &fakeSession{ended: make(chan struct{}), present: true}
				w.session.refuse = func(name string) error {
					if name == call {
						return refused
					}
					return nil
				}
				w.work()
				err := w.worked()
				switch {
				case errors.Is(refused, broken) && (!errors.Is(err, broken) || time.Since(began) > 0):
					t.Errorf("%s: after %s: %v", call, time.Since(began), err)
				case errors.Is(refused, errSilent) &&
					(transport.ReasonOf(err) != transport.TimedOut || time.Since(began) != answerTimeout):
					t.Errorf("%s: after %s: %v", call, time.Since(began), err)
				}
			})
		}
	}
}

func TestWorkThatIsEndedWhileItSubscribesReturnsNil(t *testing.T) {
	bubble(t, Settings{}, func(t *testing.T, w *world) {
		w.session = &fakeSession{ended: make(chan struct{}), refuse: func(string) error { return errSilent }}
		w.work()
		if err := w.pause(); err != nil {
			t.Error(err)
		}
	})
}

// call has the hub call a method.
func (w *world) call(id, name, payload string) {
	w.session.send("$iothub/methods/POST/"+name+"/?$rid="+id, payload)
	synctest.Wait()
}

// answers returns the answers to methods that were published: status, request ID and body.
func (w *world) answers() (all []string) {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	for _, p := range w.session.published {
		if rest, ok := strings.CutPrefix(p.topic, "$iothub/methods/res/"); ok {
			all = append(all, strings.TrimSpace(strings.Replace(rest, "/?$rid=", " ", 1)+" "+p.body))
		}
	}
	return all
}

func TestMethodsAreAnsweredWithTheirHandlersResult(t *testing.T) {
	type result struct {
		status int
		answer any
		err    error
	}
	for name, c := range map[string]struct {
		result
		want, recorded string
	}{
		"zero":     {result{}, "200 1", "method f hub-a 200"},
		"a status": {result{status: 202, answer: []int{1}}, "202 1 [1]", "method f hub-a 202"},
		"raw":      {result{answer: json.RawMessage(` {"a" : 1} `)}, `200 1  {"a" : 1}`, "method f hub-a 200"},
		"an error": {result{err: errors.New("no")}, `500 1 {"message":"no"}`, "method f hub-a 500 no"},
		"an error with 399": {result{status: 399, err: errors.New("no")},
			`500 1 {"message":"no"}`, "method f hub-a 500 no"},
		"an error with 400": {result{400, "left out", errors.New("no")},
			`400 1 {"message":"no"}`, "method f hub-a 400 no"},
		"an error that has a key": {result{err: errors.New("key secret")},
			`500 1 {"message":"key [key]"}`, "method f hub-a 500 key [key]"},
		"an answer that is no JSON": {result{answer: math.NaN()}, `500 1 {"message":"json: unsupported value: NaN"}`,
			"method f hub-a 500 json: unsupported value: NaN"},
		"a raw answer that is no JSON": {result{answer: json.RawMessage(`{`)},
			`500 1 {"message":"payloads: method answer: not UTF-8 JSON"}`,
			"method f hub-a 500 payloads: method answer: not UTF-8 JSON"},
	} {
		s := Settings{Off: Desired | Reported}
		s.Hide = func(text string) string { return strings.ReplaceAll(text, "secret", "[key]") }
		s.Handlers.Method = func(_ context.Context, name string, payload json.RawMessage) (int, any, error) {
			if name != "f" || string(payload) != " [1]" {
				t.Errorf("called %s with %q", name, payload)
			}
			return c.status, c.answer, c.err
		}
		bubble(t, s, func(t *testing.T, w *world) {
			w.connect(nil)
			w.call("1", "f", " [1]")
			w.want(name, strings.Join(w.answers(), " | "), c.want)
			if p := w.session.nth(0); p.qos != 0 {
				t.Errorf("%s: sent at QoS %d", name, p.qos)
			}
			w.mu.Lock()
			if r := w.records[0]; (r.Level == observe.Warn) != (r.Error != "") {
				t.Errorf("%s: level %v", name, r.Level)
			}
			w.mu.Unlock()
			w.want(name, strings.Join(w.recorded(observe.Handled), " | "), c.recorded)
		})
	}
}

func TestMethodThatCannotBeHandledIsAnswered(t *testing.T) {
	bubble(t, Settings{Off: Desired | Reported}, func(t *testing.T, w *world) {
		w.connect(nil)
		w.call("1", "f", "")
		w.call("2", "f", "{")
		w.call("", "f", "")
		w.pool.bounded = poolLimit
		w.call("3", "f", "")
		w.pool.bounded = 0
		w.want("answers", strings.Join(w.answers(), "\n"), `404 1 {"message":"this device has no methods"}`+"\n"+
			`400 2 {"message":"payloads: method \"f\": the payload is not UTF-8 JSON"}`+"\n"+
			`429 3 {"message":"too many handlers are running"}`)
		if n := len(w.recorded(observe.Warning)); n != 2 {
			t.Errorf("%d warnings", n)
		}
		if n := len(w.session.acked()); n != 4 {
			t.Errorf("%d requests were completed", n)
		}
	})
}

func TestMethodIsAnsweredAtItsTimeoutAndOnItsOwnSession(t *testing.T) {
	s := Settings{Off: Desired | Reported}
	s.Handlers.Timeout = 20 * time.Second
	s.Handlers.Method = func(ctx context.Context, name string, _ json.RawMessage) (int, any, error) {
		if name == "hangs" {
			time.Sleep(time.Hour)
			return 0, nil, nil
		}
		time.Sleep(time.Second)
		return 0, nil, nil
	}
	bubble(t, s, func(t *testing.T, w *world) {
		w.connect(nil)
		w.call("1", "hangs", "")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		w.want("at the timeout", strings.Join(w.answers(), ""),
			`500 1 {"message":"the handler of method hangs did not return in time: context deadline exceeded"}`)
		w.call("2", "slow", "")
		old := w.session
		old.refuseBy(func(string) error { return errors.New("it has ended") })
		w.disconnect(transport.Closed)
		w.connect(nil)
		time.Sleep(2 * time.Hour)
		w.want("on the next session", strings.Join(w.answers(), ""), "")
		if r := w.recorded(observe.Handled); len(r) != 2 || r[1] != "method slow hub-a 200 it has ended" {
			t.Errorf("recorded %q", r)
		}
	})
}

// A hub that takes nothing must not hold up whoever detaches.
func TestAnswerThatCannotBePublishedEndsWithItsTimeoutOrDetach(t *testing.T) {
	bubble(t, Settings{Off: Desired | Reported}, func(t *testing.T, w *world) {
		began := time.Now()
		stalled := &stalledSession{fakeSession{ended: make(chan struct{})}}
		w.Attach(stalled, "dev1")
		go stalled.send("$iothub/methods/POST/f/?$rid=1", "{")
		synctest.Wait()
		w.detach()
		synctest.Wait()
		w.Attach(stalled, "dev1")
		stalled.send("$iothub/methods/POST/f/?$rid=2", "{")
		if took := time.Since(began); took != answerTimeout || len(stalled.acked()) != 2 {
			t.Errorf("%d requests were completed in %s", len(stalled.acked()), took)
		}
		w.Detach()
		stalled.end(transport.ClosedLocally)
		w.Release()
	})
}

// A stalledSession takes nothing.
type stalledSession struct{ fakeSession }

func (s *stalledSession) Publish(ctx context.Context, _ string, _ byte, _ []byte, _ func(error)) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestMessageIsCompletedOnlyAfterItsHandlerHasSucceeded(t *testing.T) {
	var result error
	s := Settings{Off: Desired | Reported}
	s.Handlers.Timeout = time.Minute
	s.Handlers.Command = func(_ context.Context, m payloads.Message) error {
		time.Sleep(time.Hour)
		return result
	}
	topic := strings.TrimSuffix(commandFilter, "#") + "%24.mid=m1"
	bubble(t, s, func(t *testing.T, w *world) {
		w.connect(nil)
		w.session.send(topic, "x")
		time.Sleep(59 * time.Minute)
		if len(w.session.acked()) > 0 {
			t.Error("it was completed while its handler ran")
		}
		time.Sleep(time.Hour)
		w.want("completed", fmt.Sprint(w.session.acked()), "["+topic+"]")
		w.want("recorded", strings.Join(w.recorded(observe.Handled), " | "),
			"message m1 m1 500 the handler of message m1 did not return in time: "+
				"context deadline exceeded | message m1 m1 200")
		result = errors.New("no")
		w.session.send(topic+"2", "x")
		time.Sleep(2 * time.Hour)
		w.want("still completed", fmt.Sprint(w.session.acked()), "["+topic+"]")
	})
}

func TestMessagesThatNobodyHandlesStayWithTheHub(t *testing.T) {
	bubble(t, Settings{Off: Desired | Reported}, func(t *testing.T, w *world) {
		w.connect(nil)
		w.session.send(strings.TrimSuffix(commandFilter, "#")+"%24.mid=m1", "x")
		if len(w.session.acked()) > 0 || len(w.recorded(observe.Warning)) > 0 {
			t.Error("it was completed, or there is a warning")
		}
		w.session.send("something/else", "x") // cannot be read, now or later
		if r := w.recorded(observe.Warning); len(w.session.acked()) != 1 || len(r) != 1 {
			t.Errorf("completed %q, recorded %q", w.session.acked(), r)
		}
	})
}

func TestMessagesThatComeWhileTheHubIsDetachedAreHeld(t *testing.T) {
	s := Settings{Off: Desired | Reported}
	s.Handlers.Command = func(context.Context, payloads.Message) error { return nil }
	bubble(t, s, func(t *testing.T, w *world) {
		w.connect(nil)
		w.pause()
		w.session.send(strings.TrimSuffix(commandFilter, "#")+"%24.mid=m1", "x")
		if n := len(w.recorded(observe.Handled)); n != 0 {
			t.Error("it was handled")
		}
		w.work()
		if n := len(w.recorded(observe.Handled)); n != 1 {
			t.Error("it was not handled")
		}
	})
}
