package observe

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// fanDepth is the largest number of records that may be pending for one observer, not counting the
// records that its goroutine has already taken from the queue.
const fanDepth = 4096

// A Fan passes records to several observers. Each observer receives them in order, on a goroutine
// of its own, and no observer delays Emit: a log pipe that stalls must not delay a failover. An
// observer that falls behind by thousands of records misses the newest ones, and receives a record
// that says how many it has missed. When many records of one sort come in a short time, the Fan
// combines them into one record each second, which counts or names all of them.
type Fan struct {
	mu      sync.Mutex
	limiter limiter
	started bool
	closed  bool
	queues  []*queue
}

// A queue holds the records that are pending for one observer. Fan.mu guards it.
type queue struct {
	observer func(Record)
	pending  []*Record     // pointers to records that all queues share and nobody changes, because records are large
	missed   int           // number of records left out since pending was full
	changed  *sync.Cond    // signalled when pending grows or the Fan is closed
	done     chan struct{} // closed when the observer has received its last record
}

// NewFan returns a Fan that keeps emitted records until Start is called.
func NewFan(observers ...func(Record)) *Fan {
	f := &Fan{}
	f.limiter = limiter{pass: f.queue, series: map[Record]*series{}}
	for _, observer := range observers {
		q := &queue{observer: observer, changed: sync.NewCond(&f.mu), done: make(chan struct{})}
		f.queues = append(f.queues, q)
	}
	return f
}

// Start starts the goroutines of the observers, which end with Close. A second call does nothing.
func (f *Fan) Start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.started || f.closed {
		return
	}
	f.started = true
	for _, q := range f.queues {
		go f.serve(q)
	}
}

func (f *Fan) serve(q *queue) {
	defer close(q.done)
	for {
		records, missed := f.next(q)
		if len(records) == 0 {
			return
		}
		for _, r := range records {
			q.observer(*r)
		}
		if missed > 0 {
			last := records[len(records)-1]
			q.observer(Record{
				Time: last.Time, Level: Warn, Kind: Warning, Device: last.Device,
				Message: plural(missed, "record") + " missing here: this observer was too slow",
			})
		}
	}
}

// next waits for pending records and returns them. It returns no records if the Fan is closed and
// none is pending. missed is the number of records that were left out after those, because the
// queue was full.
func (f *Fan) next(q *queue) (records []*Record, missed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(q.pending) == 0 && !f.closed {
		q.changed.Wait()
	}
	records, missed = q.pending, q.missed
	q.pending, q.missed = nil, 0
	return records, missed
}

// Emit queues a record for the observers and returns at once. All observers receive the records in
// the same order.
func (f *Fan) Emit(r Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.limiter.add(r, f.later)
	}
}

func (f *Fan) later(after time.Duration, do func()) *time.Timer {
	return time.AfterFunc(after, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		do()
	})
}

// queue adds a record to each queue that is not full.
func (f *Fan) queue(r Record) {
	for _, q := range f.queues {
		if len(q.pending) == fanDepth {
			q.missed++
			continue
		}
		q.pending = append(q.pending, &r)
		q.changed.Signal()
	}
}

// Close waits until the observers have received every record. If ctx ends first, Close returns an
// error that wraps ctx.Err(). Records that are emitted after Close are ignored.
func (f *Fan) Close(ctx context.Context) error {
	f.mu.Lock()
	f.limiter.flushAll()
	f.closed = true
	started := f.started
	for _, q := range f.queues {
		q.changed.Signal()
	}
	f.mu.Unlock()
	if !started {
		return nil
	}
	for _, q := range f.queues {
		select {
		case <-q.done:
		case <-ctx.Done():
			return fmt.Errorf("observe: close: an observer has not processed all records: %w", ctx.Err())
		}
	}
	return nil
}
