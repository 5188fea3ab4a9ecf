package emulator

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Slow is a slow network before an endpoint, each way. Connecting by TCP takes no longer, everything after it does.
const Slow Fault = "slow"

const (
	delayQueueLimit = 256 << 10 // bytes under way in one direction, after which whoever sends has to wait
	chunkSize       = 1 << 10   // bytes that arrive together at a limited rate
)

// A slowness is what slows one line down.
type shaping struct {
	delay, jitter time.Duration
	rate          int
	rand          *rand.Rand
}

// A lane is one direction of a slow line: what was put on the way, in order.
type delayQueue struct {
	chunks        []chunk
	size          int
	rateUsedUntil time.Time // until when the rate is used up
	lastDue       time.Time // when what was posted last is due
	running       bool      // a pump reads or writes the connection
	pump          sync.WaitGroup
}

type chunk struct {
	due  time.Time
	data []byte
	err  error
}

// slow slows the lines that there are; enlist those to come. It is called with the cloud's lock held.
func (f *frontend) setShaping(p *Params) {
	f.shaping = p
	for _, conn := range f.sortedConnections() {
		f.applyShaping(conn)
	}
}

func (f *frontend) applyShaping(conn *connection) {
	var s *shaping
	if p := f.shaping; p != nil {
		s = &shaping{p.Delay, p.Jitter, p.Rate, rand.New(rand.NewPCG(f.cloud.config.Rand.Uint64(), 0))}
	}
	conn.shaped.update(func() { conn.shaped.shaping = s })
}

// post puts something on the way. It is called with the line's lock held.
func (s *shapedConn) enqueue(to *delayQueue, data []byte, err error) {
	due := time.Now()
	if s := s.shaping; s != nil {
		if s.rate > 0 {
			to.rateUsedUntil = later(due, to.rateUsedUntil).Add(time.Duration(len(data)) * time.Second / time.Duration(s.rate))
			due = to.rateUsedUntil
		}
		due = due.Add(s.delay)
		if s.jitter > 0 {
			due = due.Add(time.Duration(s.rand.Int64N(int64(s.jitter) + 1)))
		}
	}
	to.lastDue = later(due, to.lastDue)
	to.chunks = append(to.chunks, chunk{to.lastDue, append([]byte(nil), data...), err})
	to.size += len(data)
	s.changed.Broadcast()
}

// postAll splits what comes at a limited rate.
func (s *shapedConn) enqueueAll(to *delayQueue, data []byte) {
	for s.shaping != nil && s.shaping.rate > 0 && len(data) > chunkSize {
		s.enqueue(to, data[:chunkSize], nil)
		data = data[chunkSize:]
	}
	s.enqueue(to, data, nil)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// arrived tells whether the first parcel is there, or else when it will be.
func (s *shapedConn) arrived(on *delayQueue) (bool, time.Time) {
	if len(on.chunks) == 0 || s.paused {
		return false, time.Time{}
	}
	due := on.chunks[0].due
	return !time.Now().Before(due), due
}

// take reads what has arrived. It is called with the lock held.
func (s *shapedConn) readArrived(p []byte) (int, error) {
	if err := s.waitUntil(&s.readDeadline, func() (bool, time.Time) { return s.arrived(&s.up) }); err != nil {
		return 0, err
	}
	first := &s.up.chunks[0]
	if first.err != nil {
		return 0, first.err
	}
	n := copy(p, first.data)
	s.up.size -= n
	if first.data = first.data[n:]; len(first.data) == 0 {
		s.up.chunks = s.up.chunks[1:]
	}
	s.changed.Broadcast()
	return n, nil
}

// readAhead notes when things come. From here on the read deadline is the line's own affair.
func (s *shapedConn) startReading() {
	if s.up.running {
		return
	}
	s.up.running = true
	_ = s.Conn.SetReadDeadline(time.Time{})
	s.up.pump.Go(func() {
		batch := make([]byte, 16<<10)
		for s.waitForRoom() {
			n, err := s.Conn.Read(batch)
			s.update(func() {
				if n > 0 {
					s.enqueueAll(&s.up, batch[:n])
				}
				if err != nil {
					s.enqueue(&s.up, nil, err)
				}
			})
			if err != nil {
				return
			}
		}
	})
}

// untilReadable waits until more may come, and tells whether anyone cares.
func (s *shapedConn) waitForRoom() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for (s.paused || s.up.size >= delayQueueLimit) && !s.isDone() {
		s.changed.Wait()
	}
	return !s.isDone()
}

func (s *shapedConn) isDone() bool { return s.closed || s.draining }

// writeBehind sends what is due.
func (s *shapedConn) startWriting() {
	if s.down.running {
		return
	}
	s.down.running = true
	s.down.pump.Go(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for !s.isDone() {
			ready, due := s.arrived(&s.down)
			if !ready {
				s.waitChange(due)
				continue
			}
			data, closing := s.down.chunks[0].data, !s.writeDeadline.IsZero()
			s.mu.Unlock()
			if closing {
				_ = s.Conn.SetWriteDeadline(time.Now().Add(flushTimeout))
			}
			_, err := s.Conn.Write(data)
			s.mu.Lock()
			s.down.chunks = s.down.chunks[1:]
			s.down.size -= len(data)
			s.closed = s.closed || err != nil
			s.changed.Broadcast()
		}
	})
}

// flush returns when nothing is under way to the client any more, or nothing will arrive.
func (s *shapedConn) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.down.chunks) > 0 && !s.isDone() {
		s.changed.Wait()
	}
}
