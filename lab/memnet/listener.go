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
}

func (l *listener) Addr() net.Addr { return l.at }

// offer queues a connection for Accept, or says that nobody will take it.
func (l *listener) offer(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.backlog = append(l.backlog, c)
	l.waiting.Signal()
	return true
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
	backlog := l.backlog
	l.backlog = nil
	l.waiting.Broadcast()
	l.mu.Unlock()

	for _, c := range backlog {
		_ = c.Reset()
	}
	return nil
}
