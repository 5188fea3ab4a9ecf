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
type closeMode int

const (
	closeFIN closeMode = iota // FIN, without TLS's close_notify: a process that died
	closeRST                  // RST
	closeNow                  // no wait for anything: the emulator itself ends
)

var errSlowReader = errors.New("the client does not read")

// A wire is one accepted connection. Writing never blocks: a goroutine sends what has gathered, in one TLS record, so the
// cloud may write while it holds its lock. After depart, nothing that was not sent before leaves any more.
type tlsConn struct {
	raw    net.Conn
	shaped *shapedConn // to raw
	tls    *tls.Conn   // over line

	mu            sync.Mutex
	changed       *sync.Cond
	unsent        []byte
	ending        bool
	closed        bool
	closeDeferred bool          // it should have departed, and its line was frozen
	idleTimeout   time.Duration // the longest silence that is allowed; 0 leaves the deadline alone
	readErr       error         // why reading ended
	flushed       chan struct{}
}

func newTLSConn(raw net.Conn, config *tls.Config) *tlsConn {
	w := &tlsConn{raw: raw, shaped: newShapedConn(raw), flushed: make(chan struct{})}
	w.tls = tls.Server(w.shaped, config)
	w.changed = sync.NewCond(&w.mu)
	return w
}

// shake does the TLS handshake and starts the time within which CONNECT has to come.
func (w *tlsConn) handshake() error {
	w.setTimeout(handshakeTimeout)
	if err := w.tls.Handshake(); err != nil {
		return err
	}
	w.setTimeout(connectTimeout)
	return nil
}

func (w *tlsConn) setTimeout(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ending {
		_ = w.shaped.SetReadDeadline(time.Now().Add(d))
		_ = w.shaped.SetWriteDeadline(time.Time{})
	}
}

// keepAlive ends the connection after a silence.
func (w *tlsConn) setIdleTimeout(idle time.Duration) {
	w.mu.Lock()
	w.idleTimeout = idle
	w.mu.Unlock()
}

func (w *tlsConn) Read(p []byte) (int, error) {
	w.mu.Lock()
	if w.ending {
		w.mu.Unlock()
		return 0, net.ErrClosed
	}
	if w.idleTimeout > 0 {
		_ = w.shaped.SetReadDeadline(time.Now().Add(w.idleTimeout))
	}
	w.mu.Unlock()

	n, err := w.tls.Read(p)

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending {
		return 0, net.ErrClosed // what came in the meantime is not heard
	}
	if err != nil {
		w.readErr = err
	}
	return n, err
}

func (w *tlsConn) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending {
		return 0, net.ErrClosed
	}
	if len(w.unsent)+len(p) > maximumUnsent {
		w.readErr = errSlowReader
		w.abortLocked(closeFIN)
		return 0, errSlowReader
	}
	w.unsent = append(w.unsent, p...)
	w.changed.Signal()
	return len(p), nil
}

// flush sends until the wire has ended and all is sent.
func (w *tlsConn) writeLoop() {
	defer close(w.flushed)
	var batch []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.unsent) == 0 && !w.ending {
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
			w.abortLocked(closeFIN)
		}
	}
}

// Close takes no more to write and hears no more; what was written is still sent. The owner then calls bury.
func (w *tlsConn) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ending {
		w.ending = true
		_ = w.shaped.SetReadDeadline(time.Now())
		_ = w.shaped.SetWriteDeadline(time.Now().Add(flushTimeout))
		w.changed.Signal()
	}
	return nil
}

// gone tells whether the wire has ended.
func (w *tlsConn) isEnding() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ending
}

// depart ends the wire at once. What was not sent yet is dropped.
func (w *tlsConn) abort(how closeMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abortLocked(how)
}

// expel ends the wire even beyond a frozen line.
func (w *tlsConn) abortPaused(how closeMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shaped.abort()
	w.abortLocked(how)
}

// leave is called with the lock held. Through a frozen line no farewell passes: bury gives it when the line has thawed.
func (w *tlsConn) abortLocked(how closeMode) {
	w.ending, w.unsent = true, nil
	w.changed.Signal()
	if w.closed && how != closeNow {
		return
	}
	if how != closeNow && w.shaped.isPaused() {
		w.closeDeferred = true
		_ = w.shaped.SetDeadline(time.Now())
		return
	}
	w.closed = true
	w.shaped.abort()
	switch how {
	case closeFIN:
		halfClose(w.raw)
		_ = w.raw.SetDeadline(time.Now())
	case closeRST:
		resetConn(w.raw)
	case closeNow:
		_ = w.raw.Close()
	}
}

// bury is the end, for the owner: it says good-bye unless the wire has departed, waits a moment for the client to close
// and lets the connection go. A client that comes back from beyond a frozen line finds that nobody knows it.
func (w *tlsConn) finish() {
	_ = w.Close()
	<-w.flushed
	frozen := w.shaped.isPaused()
	w.shaped.waitResumed()
	w.mu.Lock()
	departed, unheard := w.closed, w.closeDeferred
	w.mu.Unlock()
	switch {
	case departed:
	case frozen, unheard:
		resetConn(w.raw)
		w.shaped.stopPumps()
		return
	default:
		_ = w.tls.CloseWrite()
		w.shaped.flush()
		halfClose(w.raw)
	}
	w.shaped.drain(lingerTimeout)
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

func (w *tlsConn) LocalAddr() net.Addr  { return w.raw.LocalAddr() }
func (w *tlsConn) RemoteAddr() net.Addr { return w.raw.RemoteAddr() }

// The deadlines are the wire's own affair.
func (w *tlsConn) SetDeadline(time.Time) error      { return nil }
func (w *tlsConn) SetReadDeadline(time.Time) error  { return nil }
func (w *tlsConn) SetWriteDeadline(time.Time) error { return nil }
