package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
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
