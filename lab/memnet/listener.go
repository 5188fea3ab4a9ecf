package memnet

import (
	"net"
	"sync"
)

type listener struct {
	network *Network
	at      endpoint

	mu      sync.Mutex
	waiting *sync.Cond
	backlog []*Conn
	closed  bool
	refuses bool
	hole    chan struct{} // closed when connection requests are no longer swallowed; nil while they are not
}

func (l *listener) Addr() net.Addr { return l.at }

// offer queues a connection for Accept, or says that nobody will take it.
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

// Swallow makes connection requests vanish: who dials waits until that is over, as TCP would by trying again.
func (l *listener) SetBlackHole(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case on && l.hole == nil && !l.closed:
		l.hole = make(chan struct{})
	case !on && l.hole != nil:
		close(l.hole)
		l.hole = nil
	}
}

// Refuse makes who dials hear that nobody listens, and resets the connections nobody accepted; the address stays taken. Accept
// waits until that is over.
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

func (l *listener) swallowing() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hole
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

// Close frees the address and resets the connections nobody accepted; the accepted ones live on.
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
	if l.hole != nil {
		close(l.hole)
		l.hole = nil
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
