package statefile

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"
)

// retryInterval is the time between two attempts to write on a disk that cannot be written.
const retryInterval = 10 * time.Second

// A Newest keeps the newest state of something in a file. It writes on a goroutine of its own,
// because a disk may stall; the goroutine runs only while there is something to write. Changes that
// come while the disk is busy share the next write. After an error it tries again, every 10 s and
// at each change. The exported fields must not change after the first call.
type Newest[T any] struct {
	State   func() T     // returns what the file is to hold
	IsEmpty func(T) bool // reports whether no file is needed; nil means never
	// Delay is the wait before a change is written. Zero means no wait; only then does Await wait for the disk.
	Delay      time.Duration
	RemoveOnly bool        // the file is not written, only removed once the state is empty
	Report     func(error) // gets the first error of a series, and nil when a write succeeds again

	file    File // the zero File means that nothing is kept
	mu      sync.Mutex
	changes int           // number of changes so far
	tried   int           // number of changes that the last write included, even if the write failed
	news    chan struct{} // closed when tried changes
	hurry   chan struct{} // ends a wait of the goroutine early
	running bool          // the goroutine is running
	ended   sync.WaitGroup
	closed  bool

	// The fields below belong to the goroutine.
	held    *T // state that the file holds; nil means that it is not known
	failing bool
	save    func(T) error // File.Save, except in tests
}

// NewNewest makes a Newest for a file.
func NewNewest[T any](file File, state func() T) *Newest[T] {
	return &Newest[T]{
		State: state, file: file, news: make(chan struct{}), hurry: make(chan struct{}, 1), held: new(T),
		save: func(state T) error { return file.Save(state) },
	}
}

// File returns the file.
func (n *Newest[T]) File() File { return n.file }

// Load reads the file as File.Load does. It must be the first call.
func (n *Newest[T]) Load() (state T, ok bool, err error) {
	ok, err = n.file.Load(&state)
	switch {
	case ok:
		n.held = &state
	case err != nil && n.IsEmpty != nil && !errors.As(err, new(*VersionError)):
		n.held = nil // after a change the file is out of date, so an empty state removes it
	case err == nil && n.RemoveOnly: // there is nothing to remove
		n.file = File{}
	}
	return state, ok, err
}

// Changed notes that the state has changed, and returns the number of the change for Await.
func (n *Newest[T]) Changed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file.Kept() && !n.closed {
		n.changes++
		n.start()
	}
	return n.changes
}

// Await waits until the file holds the change, or until an attempt to write the change has failed, and
// returns nil in both cases. If Delay or RemoveOnly is set or nothing is kept, it returns nil at once.
// It returns the error of ctx if that ends first.
func (n *Newest[T]) Await(ctx context.Context, change int) error {
	for n.Delay == 0 && !n.RemoveOnly {
		n.mu.Lock()
		tried, news := n.tried, n.news
		n.mu.Unlock()
		if tried >= change {
			break
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close writes the state a last time, waits for the end of the write, and reports whether the file holds
// the state. Later changes are not written.
func (n *Newest[T]) Close() (held bool) {
	n.mu.Lock()
	kept := n.file.Kept()
	if kept && !n.closed {
		n.closed = true
		n.changes++
		n.start()
	}
	n.mu.Unlock()
	n.ended.Wait()
	return kept && !n.RemoveOnly && n.held != nil
}

// start starts the goroutine, or ends its wait early. The caller holds mu.
func (n *Newest[T]) start() {
	if n.closed || n.running && n.Delay == 0 {
		select {
		case n.hurry <- struct{}{}:
		default:
		}
	}
	if !n.running {
		n.running = true
		n.ended.Go(n.run)
	}
}

func (n *Newest[T]) run() {
	for delay := n.Delay; ; {
		select {
		case <-time.After(delay):
		case <-n.hurry:
		}
		n.mu.Lock()
		changes, unchanged := n.changes, n.closed && n.changes == 1
		n.mu.Unlock()
		err := n.write(unchanged)
		n.mu.Lock()
		n.tried = changes
		close(n.news)
		n.news = make(chan struct{})
		n.running = n.changes != changes || err != nil && !n.closed
		runs := n.running
		n.mu.Unlock()
		if !runs {
			return
		}
		if delay = n.Delay; err != nil {
			delay = max(delay, retryInterval)
		}
	}
}

// write makes the file hold the state. It does not sync the removal of a file: if a power cut brings the
// file back, the file holds an earlier state. A file that could not be loaded stays if the state is
// empty and unchanged.
func (n *Newest[T]) write(unchanged bool) error {
	state := n.State()
	var err error
	switch {
	case n.held != nil && reflect.DeepEqual(*n.held, state):
		return nil
	case n.IsEmpty != nil && n.IsEmpty(state):
		if n.held == nil && unchanged {
			return nil
		}
		err = n.file.Remove()
	case n.RemoveOnly:
		return nil
	default:
		n.held = nil
		err = n.save(state)
	}
	if err == nil {
		n.held = &state
	}
	if fails := err != nil; fails != n.failing {
		n.failing = fails
		n.Report(err)
	}
	return err
}
