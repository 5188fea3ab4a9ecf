package emulator

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Slow is the fault that delays all data of an endpoint, in both directions, but not the TCP handshake.
const Slow Fault = "slow"

const (
	delayQueueLimit = 256 << 10 // bytes queued in one direction; above the limit, writes wait
	chunkSize       = 1 << 10   // bytes that arrive together at a limited rate
)

// A shaping holds the delays of one connection.
type shaping struct {
	delay, jitter time.Duration
	rate          int
	rand          *rand.Rand
}

// A delayQueue holds the delayed data of one direction, in order.
type delayQueue struct {
	chunks        []chunk
	size          int
	rateUsedUntil time.Time // end of the last transmission at the limited rate
	lastDue       time.Time // time at which the last chunk is due
	running       bool      // the pump was started
	pump          sync.WaitGroup
}

type chunk struct {
	due  time.Time
	data []byte
	err  error
}

// setShaping sets the delays of all connections; nil means none. New connections get them from
// applyShaping. It is called with the cloud's lock held.
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

// enqueue adds data to a queue, or the error that ends the data of this direction. It is called with
// the lock held.
func (s *shapedConn) enqueue(to *delayQueue, data []byte, err error) {
	due := time.Now()
	if s := s.shaping; s != nil {
		if s.rate > 0 {
			to.rateUsedUntil = later(due,
				to.rateUsedUntil).Add(time.Duration(len(data)) * time.Second / time.Duration(s.rate))
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

// enqueueAll splits data into chunks if the rate is limited.
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

// arrived reports whether the first chunk of a queue is due, and returns the time at which it is due.
func (s *shapedConn) arrived(on *delayQueue) (bool, time.Time) {
	if len(on.chunks) == 0 || s.paused {
		return false, time.Time{}
	}
	due := on.chunks[0].due
	return !time.Now().Before(due), due
}

// readArrived waits for data that is due and reads it. It is called with the lock held.
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

// startReading starts the pump that reads the connection. From then on the connection itself has no
// read deadline.
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

// waitForRoom waits until the pump may read more data, and returns false if the pump must end.
func (s *shapedConn) waitForRoom() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for (s.paused || s.up.size >= delayQueueLimit) && !s.isDone() {
		s.changed.Wait()
	}
	return !s.isDone()
}

func (s *shapedConn) isDone() bool { return s.closed || s.draining }

// startWriting starts the pump that writes each chunk when the chunk is due.
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

// flush waits until the pump has written all data to the client, or the connection has ended.
func (s *shapedConn) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.down.chunks) > 0 && !s.isDone() {
		s.changed.Wait()
	}
}
