package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type result struct {
	value int
	err   error
}

// invoked invokes f and returns the channel that gets its result.
func invoked(p *pool, name string, f func(context.Context) (int, error)) (chan result, error) {
	results := make(chan result, 2)
	err := invoke(p, poolLimit, name, f, func(v int, err error) { results <- result{v, err} }, nil)
	return results, err
}

func TestResultOrTimeoutOfAHandlerIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(time.Minute, nil)
		results, _ := invoked(p, "quick", func(context.Context) (int, error) { return 7, nil })
		if r := <-results; r.value != 7 || r.err != nil {
			t.Errorf("%+v", r)
		}
		begin := time.Now()
		results, _ = invoked(p, "slow", func(ctx context.Context) (int, error) {
			time.Sleep(time.Hour)
			return 7, nil
		})
		r := <-results
		if !errors.Is(r.err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("after %v: %+v", time.Since(begin), r)
		}
		if err := p.close(t.Context()); err != nil { // waits for the slow one
			t.Error(err)
		}
		select {
		case r := <-results:
			t.Errorf("another result: %+v", r)
		default:
		}
	})
}

func TestPanicOfAHandlerIsAnError(t *testing.T) {
	p := newPool(time.Minute, nil)
	results, _ := invoked(p, "falls", func(context.Context) (int, error) { panic("down") })
	if r := <-results; r.err == nil || !strings.Contains(r.err.Error(), "down") {
		t.Errorf("%+v", r)
	}
}

// A test's FailNow in a handler is a Goexit, for example.
func TestHandlerThatEndsItsGoroutineIsCalledAgain(t *testing.T) {
	var method, command, desired int
	exit := func(calls *int) {
		if *calls++; *calls == 1 {
			runtime.Goexit()
		}
	}
	s := Settings{Handlers: Handlers{
		Method: func(context.Context, string, json.RawMessage) (int, any, error) {
			exit(&method)
			return 200, nil, nil
		},
		Command: func(context.Context, payloads.Message) error { exit(&command); return nil },
		Desired: func(context.Context, payloads.PropertyName, json.RawMessage) (PropertyAck, error) {
			exit(&desired)
			return PropertyAck{}, nil
		},
	}}
	bubble(t, s, func(t *testing.T, w *world) {
		w.connect(w.twinHub(holding(`"$version":1`), nil))
		topic := strings.TrimSuffix(commandFilter, "#") + "%24.mid=m1"
		for i := range 2 {
			w.session.send(topic, "x")
			w.call(fmt.Sprint(i), "f", "{}")
			w.patch(2+i, fmt.Sprintf(`{"a":%d}`, i))
			if method != i+1 || command != i+1 || desired != i+1 {
				t.Errorf("round %d: %d methods, %d commands, %d desired properties", i, method, command, desired)
			}
			if completed := slices.Contains(w.session.acked(), topic); completed != (i == 1) {
				t.Errorf("round %d: the command is completed: %t", i, completed)
			}
		}
		const ended = "the handler ended its goroutine (runtime.Goexit)"
		w.want("answers", strings.Join(w.answers(), " | "), `500 0 {"message":"`+ended+`"} | 200 1`)
		for _, r := range w.recorded(observe.Handled)[:3] {
			if !strings.HasSuffix(r, "500 "+ended) {
				t.Errorf("recorded %q", r)
			}
		}
	})
}

func TestKeyInTheNameOfAHandlerIsHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(time.Minute, func(text string) string { return strings.ReplaceAll(text, "secret", "[key]") })
		results, _ := invoked(p, "message secret", func(context.Context) (int, error) {
			time.Sleep(time.Hour)
			return 0, nil
		})
		if r := <-results; r.err == nil || !strings.Contains(r.err.Error(), "message [key] did not return") {
			t.Errorf("at the timeout: %v", r.err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.close(ctx); err == nil || !strings.Contains(err.Error(), "not returned: message [key]") {
			t.Errorf("close: %v", err)
		}
		time.Sleep(time.Hour)
	})
}

func TestHandlersAreBoundedAndThoseThatHangAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(time.Hour, nil)
		release := make(chan struct{})
		for i := range poolLimit {
			_, err := invoked(p, fmt.Sprint("h", i), func(context.Context) (int, error) { <-release; return 0, nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := invoked(p, "one more", nil); !errors.Is(err, errBusy) {
			t.Errorf("one more: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.close(ctx); err == nil || !strings.Contains(err.Error(), "h0, h1, h10") {
			t.Errorf("close: %v", err)
		}
		if _, err := invoked(p, "late", nil); !errors.Is(err, errClosing) {
			t.Errorf("after close: %v", err)
		}
		close(release)
		if err := p.close(t.Context()); err != nil {
			t.Errorf("close again: %v", err)
		}
	})
}

func TestCloseOfAnIdlePoolSucceedsAfterItsDeadline(t *testing.T) {
	for range 100 {
		p := newPool(time.Minute, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHandlersWithoutALimitDoNotCountForTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(time.Hour, nil)
		sleep := func(context.Context) (int, error) { time.Sleep(time.Minute); return 0, nil }
		for range poolLimit {
			if err := invoke(p, noLimit, "unlimited", sleep, func(int, error) {}, nil); err != nil {
				t.Error(err)
			}
		}
		if _, err := invoked(p, "limited", sleep); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour) // all of them have returned
		for range poolLimit {
			if _, err := invoked(p, "limited", sleep); err != nil {
				t.Error(err)
			}
		}
		if _, err := invoked(p, "one more", sleep); !errors.Is(err, errBusy) {
			t.Errorf("one more: %v", err)
		}
		if err := p.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
