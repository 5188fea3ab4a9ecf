package memnet

import (
	"net"
	"sync"
)

type listener struct {
	network *Network
	at      endpoint

	mu        sync.Mutex
	waiting   *sync.Cond
	backlog   []*Conn
	closed    bool
	refuses   bool
	blackHole chan struct{} // closed at the end of the black hole; nil means that there is none
}

func (l *listener) Addr() net.Addr { return l.at }

// offer queues a connection for Accept. It returns false if the listener is closed or refuses connections.
func (l *listener) offer(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.refuses {
		return false
	}
	l.backlog = append(l.backlog, c)
	l.waiting.Signal()
	return true
}

// SetBlackHole makes the listener ignore connection requests. A dial waits until the end of the
// black hole, because TCP would repeat its request.
func (l *listener) SetBlackHole(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case on && l.blackHole == nil && !l.closed:
		l.blackHole = make(chan struct{})
	case !on && l.blackHole != nil:
		close(l.blackHole)
		l.blackHole = nil
	}
}

// SetRefusing makes the listener refuse connections, and resets those that were not accepted. The
// address stays in use. Accept waits until the listener accepts connections again.
func (l *listener) SetRefusing(on bool) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return opError("refuse", nil, l.at, net.ErrClosed)
	}
	l.refuses = on
	var backlog []*Conn
	if on {
		backlog, l.backlog = l.backlog, nil
	}
	l.mu.Unlock()
	for _, c := range backlog {
		_ = c.Reset()
	}
	return nil
}

func (l *listener) currentBlackHole() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blackHole
}

func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.backlog) == 0 && !l.closed {
		l.waiting.Wait()
	}
	if l.closed {
		return nil, opError("accept", nil, l.at, net.ErrClosed)
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	return c, nil
}

// Close frees the address and resets the connections that were not accepted. It does not affect
// accepted connections.
func (l *listener) Close() error {
	l.network.mu.Lock()
	if l.network.listeners[string(l.at)] == l {
		delete(l.network.listeners, string(l.at))
	}
	l.network.mu.Unlock()

	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return opError("close", nil, l.at, net.ErrClosed)
	}
	l.closed = true
	if l.blackHole != nil {
		close(l.blackHole)
		l.blackHole = nil
	}
	backlog := l.backlog
	l.backlog = nil
	l.waiting.Broadcast()
	l.mu.Unlock()

	for _, c := range backlog {
		_ = c.Reset()
	}
	return nil
}
