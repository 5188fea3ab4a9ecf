package transport

import "sync"

// inFlight holds the done functions of the messages that are published and not yet acknowledged, by
// packet identifier. An acknowledgement may be read before Publish has learned the identifier from
// paho.
type inFlight struct {
	mu    sync.Mutex
	done  map[uint16]func(error)
	early map[uint16]bool // identifiers that were acknowledged before add was called
	cause error           // why no more acknowledgements will come; nil means that they may
}

// add registers done, which is called once: with nil when the message is acknowledged, or with the
// reason why the outcome is unknown.
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

// acknowledged calls done for the message with an identifier. If add has not registered the message
// yet, acknowledged remembers the identifier for add.
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
