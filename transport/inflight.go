package transport

import "sync"

// inFlight knows the messages that are published and not yet acknowledged, by packet identifier. An
// acknowledgement may be read before Publish has learned the identifier from paho.
type inFlight struct {
	mu    sync.Mutex
	done  map[uint16]func(error)
	early map[uint16]bool // acknowledged before add
	cause error           // why no more acknowledgements will come; nil means that they may
}

// add has done called once: with nil when the message is acknowledged, or with why that is not known.
func (f *inFlight) add(id uint16, done func(error)) {
	f.mu.Lock()
	acknowledged, cause := f.early[id], f.cause
	delete(f.early, id)
	if !acknowledged && cause == nil {
		f.done[id] = done
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	if acknowledged {
		cause = nil
	}
	done(cause)
}

// acknowledged takes in the acknowledgement of a message that has asked for it.
func (f *inFlight) acknowledged(id uint16) {
	f.mu.Lock()
	done := f.done[id]
	if done == nil {
		f.early[id] = true
	}
	delete(f.done, id)
	f.mu.Unlock()
	if done != nil {
		done(nil)
	}
}

// end calls done for all messages that are still in flight.
func (f *inFlight) end(cause error) {
	f.mu.Lock()
	left := f.done
	f.done, f.cause = nil, cause
	f.mu.Unlock()
	for _, done := range left {
		done(cause)
	}
}
