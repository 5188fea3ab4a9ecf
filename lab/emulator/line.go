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
	draining        bool // only drain reads any more

	slow     *slowness // nil: as fast as can be
	up, down lane      // to the cloud, to the client; used once the line has been slow
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
	return l.await(&l.readBy, l.open)
}

func (l *line) open() (bool, time.Time) { return !l.frozen, time.Time{} }

// await is called with the lock held, and looks at the deadline again whenever it was moved.
func (l *line) await(by *time.Time, ready func() (bool, time.Time)) error {
	for {
		ok, at := ready()
		switch {
		case l.dead:
			return net.ErrClosed
		case ok:
			return nil
		case !by.IsZero() && !time.Now().Before(*by):
			return os.ErrDeadlineExceeded
		}
		if at.IsZero() || !by.IsZero() && by.Before(at) {
			at = *by
		}
		l.wait(at)
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slow == nil && !l.up.running {
		l.mu.Unlock()
		n, err := l.Conn.Read(p)
		l.mu.Lock()
		if l.slow == nil || n == 0 {
			if blocked := l.await(&l.readBy, l.open); blocked != nil {
				return 0, blocked // what came meanwhile never arrived
			}
			return n, err
		}
		l.postAll(&l.up, p[:n]) // it has become slow meanwhile
	}
	l.readAhead()
	return l.take(p)
}

func (l *line) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.await(&l.writeBy, func() (bool, time.Time) {
		return !l.frozen && l.down.size < laneSize, time.Time{}
	})
	switch {
	case err != nil:
		return 0, err
	case l.slow == nil && !l.down.running:
		l.mu.Unlock()
		defer l.mu.Lock()
		return l.Conn.Write(p)
	}
	l.postAll(&l.down, p)
	l.writeBehind()
	return len(p), nil
}

func (l *line) SetDeadline(t time.Time) error {
	_ = l.SetReadDeadline(t)
	return l.SetWriteDeadline(t)
}

func (l *line) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readBy = t
	l.changed.Broadcast()
	if l.up.running {
		return nil
	}
	return l.Conn.SetReadDeadline(t)
}

func (l *line) SetWriteDeadline(t time.Time) error {
	l.set(func() { l.writeBy = t })
	return l.Conn.SetWriteDeadline(t)
}

// drain reads what still comes, for a while: closing with unread data would turn the FIN into a reset.
func (l *line) drain(d time.Duration) {
	l.settle()
	_ = l.Conn.SetReadDeadline(time.Now().Add(d))
	_, _ = io.Copy(io.Discard, l.Conn)
}

// settle ends the pumps.
func (l *line) settle() {
	l.set(func() { l.draining = true })
	_ = l.Conn.SetDeadline(time.Now())
	l.up.pump.Wait()
	l.down.pump.Wait()
}
