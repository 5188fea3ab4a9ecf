package emulator

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	handshakeTimeout = 10 * time.Second // for TLS
	connectTimeout   = 10 * time.Second // from there to CONNECT
	flushTimeout     = 5 * time.Second  // for a client that does not read what a closing server still has to say
	lingerTimeout    = time.Second      // for a client that does not close after the server did
	maximumUnsent    = 8 << 20          // bytes; a client that far behind is dropped
)

// A farewell is how a connection ends.
type farewell int

const (
	finish farewell = iota // FIN, without TLS's close_notify: a process that died
	reset                  // RST
	cut                    // no wait for anything: the emulator itself ends
)

var errSlowReader = errors.New("the client does not read")

// A wire is one accepted connection. Writing never blocks: a goroutine sends what has gathered, in one TLS record, so the
// cloud may write while it holds its lock. After depart, nothing that was not sent before leaves any more.
type wire struct {
	raw  net.Conn
	line *line     // to raw
	tls  *tls.Conn // over line

	mu       sync.Mutex
	changed  *sync.Cond
	unsent   []byte
	ended    bool
	departed bool
	unheard  bool          // it should have departed, and its line was frozen
	idle     time.Duration // the longest silence that is allowed; 0 leaves the deadline alone
	failure  error         // why reading ended
	flushed  chan struct{}
}

func newWire(raw net.Conn, config *tls.Config) *wire {
	w := &wire{raw: raw, line: newLine(raw), flushed: make(chan struct{})}
	w.tls = tls.Server(w.line, config)
	w.changed = sync.NewCond(&w.mu)
	return w
}

// shake does the TLS handshake and starts the time within which CONNECT has to come.
func (w *wire) shake() error {
	w.allow(handshakeTimeout)
	if err := w.tls.Handshake(); err != nil {
		return err
	}
	w.allow(connectTimeout)
	return nil
}

func (w *wire) allow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		_ = w.line.SetReadDeadline(time.Now().Add(d))
		_ = w.line.SetWriteDeadline(time.Time{})
	}
}

// keepAlive ends the connection after a silence.
func (w *wire) keepAlive(idle time.Duration) {
	w.mu.Lock()
	w.idle = idle
	w.mu.Unlock()
}

func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return 0, net.ErrClosed
	}
	if w.idle > 0 {
		_ = w.line.SetReadDeadline(time.Now().Add(w.idle))
	}
	w.mu.Unlock()

	n, err := w.tls.Read(p)

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, net.ErrClosed // what came in the meantime is not heard
	}
	if err != nil {
		w.failure = err
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, net.ErrClosed
	}
	if len(w.unsent)+len(p) > maximumUnsent {
		w.failure = errSlowReader
		w.leave(finish)
		return 0, errSlowReader
	}
	w.unsent = append(w.unsent, p...)
	w.changed.Signal()
	return len(p), nil
}

// flush sends until the wire has ended and all is sent.
func (w *wire) flush() {
	defer close(w.flushed)
	var batch []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.unsent) == 0 && !w.ended {
			w.changed.Wait()
		}
		if len(w.unsent) == 0 {
			return
		}
		batch, w.unsent = w.unsent, batch[:0]
		w.mu.Unlock()
		_, err := w.tls.Write(batch)
		w.mu.Lock()
		if err != nil {
			w.leave(finish)
		}
	}
}

// Close takes no more to write and hears no more; what was written is still sent. The owner then calls bury.
func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		_ = w.line.SetReadDeadline(time.Now())
		_ = w.line.SetWriteDeadline(time.Now().Add(flushTimeout))
		w.changed.Signal()
	}
	return nil
}

// gone tells whether the wire has ended.
func (w *wire) gone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// depart ends the wire at once. What was not sent yet is dropped.
func (w *wire) depart(how farewell) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leave(how)
}

// expel ends the wire even beyond a frozen line.
func (w *wire) expel(how farewell) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.kill()
	w.leave(how)
}

// leave is called with the lock held. Through a frozen line no farewell passes: bury gives it when the line has thawed.
func (w *wire) leave(how farewell) {
	w.ended, w.unsent = true, nil
	w.changed.Signal()
	if w.departed && how != cut {
		return
	}
	if how != cut && w.line.isFrozen() {
		w.unheard = true
		_ = w.line.SetDeadline(time.Now())
		return
	}
	w.departed = true
	w.line.kill()
	switch how {
	case finish:
		halfClose(w.raw)
		_ = w.raw.SetDeadline(time.Now())
	case reset:
		resetConn(w.raw)
	case cut:
		_ = w.raw.Close()
	}
}

// bury is the end, for the owner: it says good-bye unless the wire has departed, waits a moment for the client to close
// and lets the connection go. A client that comes back from beyond a frozen line finds that nobody knows it.
func (w *wire) bury() {
	_ = w.Close()
	<-w.flushed
	frozen := w.line.isFrozen()
	w.line.thawed()
	w.mu.Lock()
	departed, unheard := w.departed, w.unheard
	w.mu.Unlock()
	switch {
	case departed:
	case frozen, unheard:
		resetConn(w.raw)
		w.line.settle()
		return
	default:
		_ = w.tls.CloseWrite()
		w.line.flush()
		halfClose(w.raw)
	}
	w.line.drain(lingerTimeout)
	_ = w.raw.Close()
}

func halfClose(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
		return
	}
	_ = conn.Close()
}

func resetConn(conn net.Conn) {
	switch c := conn.(type) {
	case interface{ Reset() error }:
		_ = c.Reset()
		return
	case interface{ SetLinger(int) error }:
		_ = c.SetLinger(0)
	}
	_ = conn.Close()
}

func (w *wire) LocalAddr() net.Addr  { return w.raw.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr { return w.raw.RemoteAddr() }

// The deadlines are the wire's own affair.
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
