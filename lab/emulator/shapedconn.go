package emulator

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A shapedConn is a connection that can be paused and slowed down. A paused connection passes neither
// bytes nor FIN. Its reads and writes still end at their deadlines.
type shapedConn struct {
	net.Conn

	mu                          sync.Mutex
	changed                     *sync.Cond
	readDeadline, writeDeadline time.Time
	paused                      bool
	closed                      bool // no bytes pass any more
	draining                    bool // only drain may read

	shaping  *shaping   // the delays; nil means no delays
	up, down delayQueue // data to the cloud and to the client; used from the first delay on
}

func newShapedConn(raw net.Conn) *shapedConn {
	s := &shapedConn{Conn: raw}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// pause and resume are called with the cloud's lock held.
func (s *shapedConn) pause()  { s.update(func() { s.paused = true }) }
func (s *shapedConn) resume() { s.update(func() { s.paused = false }) }

// abort ends all pending reads and writes with an error.
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

// waitResumed waits until the connection is not paused. It has no timeout.
func (s *shapedConn) waitResumed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.paused {
		s.changed.Wait()
	}
}

// waitReadable waits until reads may pass.
func (s *shapedConn) waitReadable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waitUntil(&s.readDeadline, s.mayPass)
}

func (s *shapedConn) mayPass() (bool, time.Time) { return !s.paused, time.Time{} }

// waitUntil waits until ready returns true or the deadline passes. With false, ready returns the
// time at which it may become true; the zero time means that only a change can make it true.
// waitUntil is called with the lock held, and it notices changes of the deadline.
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

// waitChange waits for a change, or until a time. The zero time means no limit.
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
				return 0, blocked // the data that was read meanwhile is lost
			}
			return n, err
		}
		s.enqueueAll(&s.up, p[:n]) // the fault slow was injected during the read
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

// drain reads and discards data until the client closes, at most for d. Closing with unread data
// would send RST instead of FIN.
func (s *shapedConn) drain(d time.Duration) {
	s.stopPumps()
	_ = s.Conn.SetReadDeadline(time.Now().Add(d))
	_, _ = io.Copy(io.Discard, s.Conn)
}

// stopPumps stops the goroutines that read ahead and write delayed data.
func (s *shapedConn) stopPumps() {
	s.update(func() { s.draining = true })
	_ = s.Conn.SetDeadline(time.Now())
	s.up.pump.Wait()
	s.down.pump.Wait()
}
