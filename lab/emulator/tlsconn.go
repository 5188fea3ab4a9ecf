package emulator

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// The limits of the services are not documented. These are long enough for a client on a slow network.
	handshakeTimeout = time.Minute     // time for the TLS handshake
	connectTimeout   = time.Minute     // time from the TLS handshake to CONNECT
	flushTimeout     = 5 * time.Second // time for sending the rest of the data after Close
	lingerTimeout    = time.Second     // time in which the client must close after the server has sent FIN
	maximumUnsent    = 8 << 20         // bytes of unsent data; above the limit, the connection is closed
)

// A closeMode is the way to close a connection.
type closeMode int

const (
	closeFIN closeMode = iota // close with FIN but without close_notify of TLS, as when a process dies
	closeRST                  // close with RST
	closeNow                  // close without waiting, at the end of the emulator
)

var errSlowReader = errors.New("the client does not read")

// A tlsConn is one accepted connection. Writing never blocks, so that the cloud can write while it
// holds its lock: writeLoop sends the unsent data in one TLS record. After abort returns, nothing
// more is sent.
type tlsConn struct {
	raw    net.Conn
	shaped *shapedConn // the wrapper of raw
	tls    *tls.Conn   // the TLS connection over shaped

	mu            sync.Mutex
	changed       *sync.Cond
	unread        []byte // data that was read and that the next Read returns again
	unsent        []byte
	ending        bool
	closed        bool
	closeDeferred bool          // abort was called while the connection was paused
	idleTimeout   time.Duration // the longest allowed silence; zero means that Read sets no deadline
	readErr       error         // the error that ended reading, or errSlowReader
	flushed       chan struct{}
}

func newTLSConn(raw net.Conn, config *tls.Config) *tlsConn {
	w := &tlsConn{raw: raw, shaped: newShapedConn(raw), flushed: make(chan struct{})}
	w.tls = tls.Server(w.shaped, config)
	w.changed = sync.NewCond(&w.mu)
	return w
}

// handshake does the TLS handshake and sets the timeout for CONNECT.
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

// setIdleTimeout sets the time after which Read fails if the client sends nothing.
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
	if len(w.unread) > 0 {
		n := copy(p, w.unread)
		w.unread = w.unread[n:]
		w.mu.Unlock()
		return n, nil
	}
	w.mu.Unlock()

	n, err := w.tls.Read(p)

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending {
		return 0, net.ErrClosed // the data that was read meanwhile is discarded
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

// writeLoop sends the written data. It returns when the connection is ending and all data was sent.
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

// Close ends reading and writing. Data that was written is still sent. The owner must call finish.
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

// isEnding reports whether Close or abort was called.
func (w *tlsConn) isEnding() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ending
}

// abort ends the connection at once and discards unsent data. A paused connection ends after it was
// resumed.
func (w *tlsConn) abort(how closeMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abortLocked(how)
}

// abortPaused ends the connection at once, also if it is paused.
func (w *tlsConn) abortPaused(how closeMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shaped.abort()
	w.abortLocked(how)
}

// abortLocked is called with the lock held. On a paused connection neither FIN nor RST may pass, so
// finish sends RST later.
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

// finish closes the connection after the last Read. It sends the unsent data and FIN, unless the
// connection was aborted, and waits for the client to close, at most for lingerTimeout. If
// the connection is paused, or abort was called while it was paused, finish waits until it is resumed
// and then resets it.
func (w *tlsConn) finish() {
	_ = w.Close()
	<-w.flushed
	paused := w.shaped.isPaused()
	w.shaped.waitResumed()
	w.mu.Lock()
	closed, closeDeferred := w.closed, w.closeDeferred
	w.mu.Unlock()
	switch {
	case closed:
	case paused, closeDeferred:
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

// These methods do nothing, because a tlsConn sets its own deadlines.
func (w *tlsConn) SetDeadline(time.Time) error      { return nil }
func (w *tlsConn) SetReadDeadline(time.Time) error  { return nil }
func (w *tlsConn) SetWriteDeadline(time.Time) error { return nil }
