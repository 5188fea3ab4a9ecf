package transport

import "sync"

// receipts tell those who published that the peer has acknowledged it. The acknowledgement may come before the number under
// which they are to be found is known.
type receipts struct {
	mu      sync.Mutex
	waiting map[uint16]func(error)
	early   map[uint16]bool
	over    error // why nothing more will come
}

func newReceipts() *receipts {
	return &receipts{waiting: map[uint16]func(error){}, early: map[uint16]bool{}}
}

// expect has done told once: that the acknowledgement has come, or why it is not known to have.
func (r *receipts) expect(id uint16, done func(error)) {
	r.mu.Lock()
	over := r.over
	came := r.early[id]
	switch {
	case came:
		delete(r.early, id)
		over = nil
	case over == nil:
		r.waiting[id] = done
	}
	r.mu.Unlock()
	if came || over != nil {
		done(over)
	}
}

// came takes an acknowledgement in, of a packet that asked for it.
func (r *receipts) came(id uint16) {
	r.mu.Lock()
	done := r.waiting[id]
	if done == nil {
		r.early[id] = true
	}
	delete(r.waiting, id)
	r.mu.Unlock()
	if done != nil {
		done(nil)
	}
}

// end tells those who wait that no more will come.
func (r *receipts) end(cause error) {
	r.mu.Lock()
	r.over = cause
	waiting := r.waiting
	r.waiting = nil
	r.mu.Unlock()
	for _, done := range waiting {
		done(cause)
	}
}
