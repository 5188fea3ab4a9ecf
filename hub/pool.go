package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"giantlizard.example/failover/settings"
)

// poolLimit bounds the methods and commands that run at once, of which a hub may send any number.
// Desired properties have noLimit, because the size of the twin bounds them.
const (
	poolLimit = 64
	noLimit   = 1 << 30
)

var (
	errBusy    = errors.New("too many handlers are running")
	errClosing = errors.New("the device is closing")
)

// A pool owns the goroutines in which handlers run.
type pool struct {
	timeout time.Duration
	hide    func(text string) string // hides the device's key in a handler's error
	base    context.Context
	cancel  context.CancelFunc

	mu      sync.Mutex
	closed  bool
	next    int
	running map[int]string
	bounded int           // number of running handlers that count towards poolLimit
	idle    chan struct{} // closed when the pool is closed and nothing runs
}

func newPool(timeout time.Duration, hide func(string) string) *pool {
	base, cancel := context.WithCancel(context.Background())
	settings.Default(&hide, func(text string) string { return text })
	return &pool{
		timeout: timeout, hide: hide, base: base, cancel: cancel, running: map[int]string{}, idle: make(chan struct{}),
	}
}

func (p *pool) enter(name string, limit int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return 0, errClosing
	case p.bounded >= limit:
		return 0, errBusy
	}
	if limit < noLimit {
		p.bounded++
	}
	p.next++
	p.running[p.next] = name
	return p.next, nil
}

func (p *pool) leave(id, limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit < noLimit {
		p.bounded--
	}
	delete(p.running, id)
	if p.closed && len(p.running) == 0 {
		close(p.idle)
	}
}

// close ends the contexts of the handlers and waits until they have returned or ctx ends.
func (p *pool) close(ctx context.Context) error {
	p.cancel()
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		if len(p.running) == 0 {
			close(p.idle)
		}
	}
	p.mu.Unlock()
	select {
	case <-p.idle:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.running) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Values(p.running))
	return fmt.Errorf("hub: close: these handlers have not returned: %s", strings.Join(names, ", "))
}

var errGoexit = errors.New("the handler ended its goroutine (runtime.Goexit)")

// invoke runs f on a goroutine of the pool and returns at once. It calls then once: with f's
// result, or at the timeout with an error. It calls after, which may be nil, with f's result when f
// has returned or ended its goroutine, however late.
func invoke[T any](
	p *pool, limit int, name string, f func(context.Context) (T, error), then, after func(T, error),
) error {
	name = p.hide(name)
	id, err := p.enter(name, limit)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.base, p.timeout)
	var once sync.Once
	late := context.AfterFunc(ctx, func() {
		once.Do(func() {
			var none T
			then(none, fmt.Errorf("the handler of %s did not return in time: %w", name, context.Cause(ctx)))
		})
	})
	go func() {
		defer p.leave(id, limit)
		defer cancel()
		var v T
		err := errGoexit
		defer func() {
			late()
			once.Do(func() { then(v, err) })
			if after != nil {
				after(v, err)
			}
		}()
		v, err = guard(ctx, p.hide, f)
	}()
	return nil
}

// guard runs f. It turns a panic of the program's code into an error, and hides the device's key in
// errors, because whoever called the handler receives their text.
func guard[T any](ctx context.Context, hide func(string) string, f func(context.Context) (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New(hide(fmt.Sprintf("the handler panicked: %v", r)))
		}
	}()
	if v, err = f(ctx); err != nil {
		err = errors.New(hide(err.Error())) // inside guard, because Error is the program's code too
	}
	return v, err
}
