package transport

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// A link is the connection as paho sees it. It ends once, with a cause, and every Read after that returns this cause:
// paho takes no notice of a connection that was closed under it, only of an error that says something else.
// It judges silence and stalled writes by itself and ignores the deadlines that paho sets.
type link struct {
	net.Conn          // TLS
	raw      net.Conn // what is closed: closing TLS would first wait to say good-bye to a peer that does not listen
	host     string
	silence  time.Duration
	write    time.Duration

	mu    sync.Mutex
	up    bool // CONNACK has come; from now on silence is judged
	cause error
	ended chan struct{}
}

func newLink(conn, raw net.Conn, c Config) *link {
	return &link{Conn: conn, raw: raw, host: c.Host, silence: c.Silence, write: c.WriteTimeout, ended: make(chan struct{})}
}

// end closes the connection. The first cause counts.
func (l *link) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	l.cause = cause
	close(l.ended)
	l.raw.Close()
}

func (l *link) fail(reason Reason, err error) { l.end(&Error{Reason: reason, Host: l.host, Err: err}) }

func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

func (l *link) Read(p []byte) (int, error) {
	if l.isUp() {
		l.Conn.SetReadDeadline(time.Now().Add(l.silence))
	}
	n, err := l.Conn.Read(p)
	if err != nil {
		reason := reasonFor(err)
		if l.isUp() && errors.Is(err, os.ErrDeadlineExceeded) {
			reason = Silence
		}
		l.fail(reason, err)
		err = l.why()
	}
	return n, err
}

func (l *link) Write(p []byte) (int, error) {
	if l.isUp() {
		l.Conn.SetWriteDeadline(time.Now().Add(l.write))
	}
	n, err := l.Conn.Write(p)
	if err != nil {
		reason := reasonFor(err)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			reason = WriteStalled
		}
		l.fail(reason, err)
		err = l.why()
	}
	return n, err
}

// Close is called by paho after DISCONNECT was written or when it gives the connection up.
func (l *link) Close() error {
	l.fail(Ended, nil)
	return nil
}

// SetDeadline with the zero time is how paho says that CONNACK has come; the deadline until then is Connect's.
func (l *link) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		return nil
	}
	l.mu.Lock()
	l.up = true
	l.mu.Unlock()
	return l.Conn.SetDeadline(time.Time{})
}

// SetReadDeadline does nothing: the deadline rolls with each Read.
func (l *link) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: the deadline rolls with each Write.
func (l *link) SetWriteDeadline(time.Time) error { return nil }

func (l *link) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}
