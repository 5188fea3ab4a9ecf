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
type shapedConn struct {
	net.Conn

	mu                          sync.Mutex
	changed                     *sync.Cond
	readDeadline, writeDeadline time.Time
	paused                      bool
	closed                      bool // nothing passes any more
	draining                    bool // only drain reads any more

	shaping  *shaping   // nil: as fast as can be
	up, down delayQueue // to the cloud, to the client; used once the line has been slow
}

func newShapedConn(raw net.Conn) *shapedConn {
	s := &shapedConn{Conn: raw}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// freeze and thaw are called with the cloud's lock held.
func (s *shapedConn) pause()  { s.update(func() { s.paused = true }) }
func (s *shapedConn) resume() { s.update(func() { s.paused = false }) }

// kill lets whoever waits at the line go with an error.
func (s *shapedConn) abort() { s.update(func() { s.closed, s.paused = true, false }) }

func (s *shapedConn) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.changed.Broadcast()
}

func (s *shapedConn) isPaused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused
}

// thawed returns when the line is not frozen or is dead, however long that takes.
func (s *shapedConn) waitResumed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.paused {
		s.changed.Wait()
	}
}

// pass returns when something to read may pass, or says why it never will.
func (s *shapedConn) waitReadable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waitUntil(&s.readDeadline, s.mayPass)
}

func (s *shapedConn) mayPass() (bool, time.Time) { return !s.paused, time.Time{} }

// await is called with the lock held, and looks at the deadline again whenever it was moved.
func (s *shapedConn) waitUntil(by *time.Time, ready func() (bool, time.Time)) error {
	for {
		ok, at := ready()
		switch {
		case s.closed:
			return net.ErrClosed
		case ok:
			return nil
		case !by.IsZero() && !time.Now().Before(*by):
			return os.ErrDeadlineExceeded
		}
		if at.IsZero() || !by.IsZero() && by.Before(at) {
			at = *by
		}
		s.waitChange(at)
	}
}

// wait returns after a change, or at a time.
func (s *shapedConn) waitChange(at time.Time) {
	if !at.IsZero() {
		timer := time.AfterFunc(time.Until(at), func() { s.update(func() {}) })
		defer timer.Stop()
	}
	s.changed.Wait()
}

func (s *shapedConn) Read(p []byte) (int, error) {
	if err := s.waitReadable(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shaping == nil && !s.up.running {
		s.mu.Unlock()
		n, err := s.Conn.Read(p)
		s.mu.Lock()
		if s.shaping == nil || n == 0 {
			if blocked := s.waitUntil(&s.readDeadline, s.mayPass); blocked != nil {
				return 0, blocked // what came meanwhile never arrived
			}
			return n, err
		}
		s.enqueueAll(&s.up, p[:n]) // it has become slow meanwhile
	}
	s.startReading()
	return s.readArrived(p)
}

func (s *shapedConn) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.waitUntil(&s.writeDeadline, func() (bool, time.Time) {
		return !s.paused && s.down.size < delayQueueLimit, time.Time{}
	})
	switch {
	case err != nil:
		return 0, err
	case s.shaping == nil && !s.down.running:
		s.mu.Unlock()
		defer s.mu.Lock()
		return s.Conn.Write(p)
	}
	s.enqueueAll(&s.down, p)
	s.startWriting()
	return len(p), nil
}

func (s *shapedConn) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *shapedConn) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readDeadline = t
	s.changed.Broadcast()
	if s.up.running {
		return nil
	}
	return s.Conn.SetReadDeadline(t)
}

func (s *shapedConn) SetWriteDeadline(t time.Time) error {
	s.update(func() { s.writeDeadline = t })
	return s.Conn.SetWriteDeadline(t)
}

// drain reads what still comes, for a while: closing with unread data would turn the FIN into a reset.
func (s *shapedConn) drain(d time.Duration) {
	s.stopPumps()
	_ = s.Conn.SetReadDeadline(time.Now().Add(d))
	_, _ = io.Copy(io.Discard, s.Conn)
}

// settle ends the pumps.
func (s *shapedConn) stopPumps() {
	s.update(func() { s.draining = true })
	_ = s.Conn.SetDeadline(time.Now())
	s.up.pump.Wait()
	s.down.pump.Wait()
}
