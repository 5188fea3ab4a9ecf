package hub

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

// What the hub can ask for without end is bounded: so many methods and commands run at once. Desired properties are
// bounded by the twin's size.
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
	hide    func(text string) string // takes the device's key out of a handler's error
	base    context.Context
	cancel  context.CancelFunc

	mu      sync.Mutex
	closed  bool
	next    int
	running map[int]string
	bounded int           // of them, those with a limit
	idle    chan struct{} // closed when closed and none runs
}

func newPool(timeout time.Duration) *pool {
	base, cancel := context.WithCancel(context.Background())
	hide := func(text string) string { return text }
	return &pool{timeout: timeout, hide: hide, base: base, cancel: cancel, running: map[int]string{}, idle: make(chan struct{})}
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

// close ends the handlers' contexts and waits for them.
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
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.running) == 0 {
		return nil // it ended at the same moment
	}
	var names []string
	for _, name := range p.running {
		names = append(names, name)
	}
	sort.Strings(names)
	return fmt.Errorf("hub: these handlers do not return: %s", strings.Join(names, ", "))
}

// invoke runs f in the pool and returns at once. then is called once: with f's result, or at the deadline without it.
// after, which may be nil, is called with f's result when f has returned at last: its goroutine is the pool's for as long
// as it runs.
func invoke[T any](p *pool, limit int, name string, f func(context.Context) (T, error), then, after func(T, error)) error {
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
		v, err := guard(ctx, p.hide, f)
		late()
		once.Do(func() { then(v, err) })
		if after != nil {
			after(v, err)
		}
	}()
	return nil
}

// guard turns a panic into an error: user code must not end the process. Whoever called the handler is told the error, and
// need not know the key.
func guard[T any](ctx context.Context, hide func(string) string, f func(context.Context) (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New(hide(fmt.Sprintf("the handler panicked: %v", r)))
		}
	}()
	if v, err = f(ctx); err != nil {
		err = errors.New(hide(err.Error())) // here, for that is user code too
	}
	return v, err
}
