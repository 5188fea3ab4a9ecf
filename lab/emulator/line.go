package emulator

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A line is what lies between a client and the cloud. A frozen one lets nothing pass, neither bytes nor FIN, and a slow one
// lets them pass later; whoever waits at it gives up at its deadlines.
type line struct {
	net.Conn

	mu              sync.Mutex
	changed         *sync.Cond
	readBy, writeBy time.Time
	frozen          bool
	dead            bool // nothing passes any more
}

func newLine(raw net.Conn) *line {
	l := &line{Conn: raw}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// freeze and thaw are called with the cloud's lock held.
func (l *line) freeze() { l.set(func() { l.frozen = true }) }
func (l *line) thaw()   { l.set(func() { l.frozen = false }) }

// kill lets whoever waits at the line go with an error.
func (l *line) kill() { l.set(func() { l.dead, l.frozen = true, false }) }

func (l *line) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.changed.Broadcast()
}

func (l *line) isFrozen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frozen
}

// thawed returns when the line is not frozen or is dead, however long that takes.
func (l *line) thawed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.frozen {
		l.changed.Wait()
	}
}

// pass returns when something to read may pass, or says why it never will.
func (l *line) pass() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.await(&l.readBy, func() bool { return !l.frozen })
}

// await is called with the lock held, and looks at the deadline again whenever it was moved.
func (l *line) await(by *time.Time, ready func() bool) error {
	for {
		switch {
		case l.dead:
			return net.ErrClosed
		case ready():
			return nil
		case !by.IsZero() && !time.Now().Before(*by):
			return os.ErrDeadlineExceeded
		}
		l.wait(*by)
	}
}

// wait returns after a change, or at a time.
func (l *line) wait(at time.Time) {
	if !at.IsZero() {
		timer := time.AfterFunc(time.Until(at), func() { l.set(func() {}) })
		defer timer.Stop()
	}
	l.changed.Wait()
}

func (l *line) Read(p []byte) (int, error) {
	if err := l.pass(); err != nil {
		return 0, err
	}
	n, err := l.Conn.Read(p)
	if blocked := l.pass(); blocked != nil {
		return 0, blocked // what came meanwhile never arrived
	}
	return n, err
}

func (l *line) Write(p []byte) (int, error) {
	l.mu.Lock()
	err := l.await(&l.writeBy, func() bool { return !l.frozen })
	l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

func (l *line) SetDeadline(t time.Time) error {
	_ = l.SetReadDeadline(t)
	return l.SetWriteDeadline(t)
}

func (l *line) SetReadDeadline(t time.Time) error {
	l.set(func() { l.readBy = t })
	return l.Conn.SetReadDeadline(t)
}

func (l *line) SetWriteDeadline(t time.Time) error {
	l.set(func() { l.writeBy = t })
	return l.Conn.SetWriteDeadline(t)
}

// drain reads what still comes, for a while: closing with unread data would turn the FIN into a reset.
func (l *line) drain(d time.Duration) {
	_ = l.Conn.SetReadDeadline(time.Now().Add(d))
	_, _ = io.Copy(io.Discard, l.Conn)
}
