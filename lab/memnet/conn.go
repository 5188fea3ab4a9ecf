package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Conn is one end of a connection. Besides net.Conn it has CloseWrite (a half-close) and Reset
// (RST).
type Conn struct {
	local, remote endpoint
	mu            *sync.Mutex // shared by both ends and both directions
	in, out       *stream
	closed        bool
}

// pipe returns the two ends of a new connection.
func pipe(n *Network, near, far endpoint) (*Conn, *Conn) {
	mu := new(sync.Mutex)
	there, back := newStream(n, mu), newStream(n, mu)
	there.reply, back.reply = back, there
	return &Conn{local: near, remote: far, mu: mu, in: back, out: there},
		&Conn{local: far, remote: near, mu: mu, in: there, out: back}
}

// Read returns data that has arrived. It returns io.EOF after all data from before the peer's FIN
// was read.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.failure("read", net.ErrClosed)
		case c.in.reset:
			return 0, c.failure("read", os.NewSyscallError("read", syscall.ECONNRESET))
		case c.in.readBy.passed():
			return 0, c.failure("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case c.in.arrived.Len() > 0:
			return c.in.arrived.Read(p)
		case c.in.ended:
			return 0, io.EOF
		}
		c.in.changed.Wait()
	}
}

// Write never blocks, however slowly the peer reads.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, c.failure("write", net.ErrClosed)
	case c.in.reset:
		return 0, c.failure("write", os.NewSyscallError("write", syscall.ECONNRESET))
	case c.out.writeBy.passed():
		return 0, c.failure("write", os.ErrDeadlineExceeded)
	case c.out.finished || c.out.unread:
		return 0, c.failure("write", os.NewSyscallError("write", syscall.EPIPE))
	}
	c.out.send(segment{data: append([]byte(nil), p...)})
	return len(p), nil
}

// Close sends FIN. The peer reads the remaining data and then io.EOF; its later writes fail with
// EPIPE. Unlike on Linux, unread data does not turn the FIN into a reset.
func (c *Conn) Close() error { return c.end(segment{fin: true, gone: true}) }

// Reset sends RST, without latency. The peer's reads and writes fail at once with ECONNRESET, and
// unread data is lost.
func (c *Conn) Reset() error { return c.end(segment{rst: true}) }

// CloseWrite sends FIN. Reading continues.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failure("close", net.ErrClosed)
	}
	c.out.finish(segment{fin: true})
	return nil
}

func (c *Conn) end(last segment) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failure("close", net.ErrClosed)
	}
	c.closed = true
	c.in.abandon()
	c.out.writeBy.stop()
	if last.rst {
		c.out.breakOff()
	} else {
		c.out.finish(last)
	}
	return nil
}

func (c *Conn) LocalAddr() net.Addr  { return c.local }
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(func() { c.in.readBy.set(t); c.in.changed.Broadcast() })
}

// SetWriteDeadline makes writes after the deadline fail. It interrupts no write, because a write never waits.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(func() { c.out.writeBy.at = t })
}

func (c *Conn) setDeadline(set func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failure("set", net.ErrClosed)
	}
	set()
	return nil
}

func (c *Conn) failure(op string, err error) error { return opError(op, c.local, c.remote, err) }
