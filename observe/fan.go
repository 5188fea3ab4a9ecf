package observe

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// fanDepth is how many records may wait for one observer, besides those that it has been handed already.
const fanDepth = 4096

// A Fan hands records to observers: to each in order, and never waiting for any of them. An observer
// that falls behind by thousands of records loses the newest, and is told how many; a stalled log pipe
// must not stop a failover. A flood of records of one sort is combined into one each second, from
// which nothing is missing.
type Fan struct {
	mu      sync.Mutex
	flood   flood
	started bool
	closed  bool
	lost    int64
	queues  []*queue
}

// A queue is what waits for one observer. It belongs to Fan.mu.
type queue struct {
	tell    func(Record)
	waiting []*Record     // shared with the other queues, and never changed: they are large
	lost    int           // since waiting was full
	changed *sync.Cond    // waiting has grown, or the Fan is closed
	ended   chan struct{} // closed when the observer has seen its last record
}

// NewFan makes a Fan that keeps what is emitted until Start.
func NewFan(observers ...func(Record)) *Fan {
	f := &Fan{}
	f.flood = flood{pass: f.queue, sorts: map[Record]*surge{}}
	for _, tell := range observers {
		if tell != nil {
			f.queues = append(f.queues, &queue{tell: tell, changed: sync.NewCond(&f.mu), ended: make(chan struct{})})
		}
	}
	return f
}

// Start starts a goroutine for each observer, once; they end with Close.
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
	defer close(q.ended)
	for {
		records, lost := f.take(q)
		if len(records) == 0 {
			return
		}
		for _, r := range records {
			q.tell(*r)
		}
		if lost > 0 {
			q.tell(gap(*records[len(records)-1], lost))
		}
	}
}

// take waits for records; there are none when the Fan is closed. What was lost came after them, for there was no room.
func (f *Fan) take(q *queue) (records []*Record, lost int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(q.waiting) == 0 && !f.closed {
		q.changed.Wait()
	}
	records, lost = q.waiting, q.lost
	q.waiting, q.lost = nil, 0
	return records, lost
}

// gap is what an observer is told in the place of the records that it lost.
func gap(last Record, lost int) Record {
	return Record{
		Time: last.Time, Level: Warn, Kind: Warning, Device: last.Device,
		Message: plural(lost, "record") + " missing here: this observer was too slow",
	}
}

// Emit hands a record on and returns at once.
func (f *Fan) Emit(r Record) {
	f.mu.Lock() // so that every observer sees the same order
	defer f.mu.Unlock()
	if !f.closed {
		f.flood.hear(r, f.later)
	}
}

func (f *Fan) later(after time.Duration, do func()) *time.Timer {
	return time.AfterFunc(after, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		do()
	})
}

// queue hands a record to each observer that has room for it.
func (f *Fan) queue(r Record) {
	for _, q := range f.queues {
		if len(q.waiting) == fanDepth {
			q.lost++
			f.lost++
			continue
		}
		q.waiting = append(q.waiting, &r)
		q.changed.Signal()
	}
}

// Lost is how many records observers were too slow for, in all.
func (f *Fan) Lost() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

// Close waits until the observers have seen every record, or ctx ends. What is emitted later is ignored.
func (f *Fan) Close(ctx context.Context) error {
	f.mu.Lock()
	f.flood.flushAll()
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
		case <-q.ended:
		case <-ctx.Done():
			return fmt.Errorf("observe: close: an observer does not return: %w", ctx.Err())
		}
	}
	return nil
}
