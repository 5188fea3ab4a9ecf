package memnet

import (
	"bytes"
	"sync"
	"time"
)

// A stream is one direction of a connection. The mutex of the connection guards its fields.
type stream struct {
	network *Network
	mu      *sync.Mutex
	reply   *stream // the other direction

	transit  []segment // segments that were sent and have not arrived, in order
	timer    *time.Timer
	arrived  bytes.Buffer
	changed  *sync.Cond
	ended    bool // FIN has arrived
	reset    bool // RST has arrived
	finished bool // FIN has been sent
	unread   bool // the writer knows that the reader has closed
	dropped  bool // the reader has closed
	readBy   deadline
	writeBy  deadline
}

// A segment is the data of one write, or a FIN or RST.
type segment struct {
	due  time.Time // time of the arrival
	data []byte
	fin  bool // no segment follows
	gone bool // the sender has also stopped reading
	rst  bool
}

func newStream(n *Network, mu *sync.Mutex) *stream {
	s := &stream{network: n, mu: mu, changed: sync.NewCond(mu)}
	s.readBy.mu, s.readBy.wake = mu, s.changed.Broadcast
	return s
}

// send sends a segment. The stream has only one timer, so that segments arrive in the order in which they were sent.
func (s *stream) send(g segment) {
	latency := time.Duration(s.network.latency.Load())
	if latency == 0 && len(s.transit) == 0 {
		s.arrive(g)
		return
	}
	g.due = time.Now().Add(latency)
	if n := len(s.transit); n > 0 && s.transit[n-1].due.After(g.due) {
		g.due = s.transit[n-1].due
	}
	s.transit = append(s.transit, g)
	if len(s.transit) > 1 {
		return // the timer is running
	}
	s.arm()
}

func (s *stream) arm() {
	wait := time.Until(s.transit[0].due)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.deliver)
		return
	}
	s.timer.Reset(wait)
}

func (s *stream) deliver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.transit) > 0 && !s.transit[0].due.After(time.Now()) {
		s.arrive(s.transit[0])
		s.transit = s.transit[1:]
	}
	if len(s.transit) > 0 {
		s.arm()
	}
}

func (s *stream) arrive(g segment) {
	if !s.dropped {
		s.arrived.Write(g.data)
	}
	s.ended = s.ended || g.fin
	s.reply.unread = s.reply.unread || g.gone
	s.changed.Broadcast()
}

func (s *stream) finish(g segment) {
	if s.finished && !g.gone {
		return
	}
	s.finished = true
	s.send(g)
}

// breakOff resets the stream and discards all data that was not read.
func (s *stream) breakOff() {
	s.finished, s.reset, s.transit = true, true, nil
	s.arrived = bytes.Buffer{}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.changed.Broadcast()
}

// abandon is called when the reader closes.
func (s *stream) abandon() {
	s.dropped = true
	s.arrived = bytes.Buffer{}
	s.readBy.stop()
	s.changed.Broadcast()
}

// A deadline calls wake when it passes.
type deadline struct {
	mu    *sync.Mutex
	wake  func()
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) set(t time.Time) {
	d.at = t
	d.stop()
	if t.IsZero() || d.passed() {
		return
	}
	if d.timer == nil {
		d.timer = time.AfterFunc(time.Until(t), d.expire)
		return
	}
	d.timer.Reset(time.Until(t))
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// expire runs when the timer expires. If that is too early, because a later deadline was set meanwhile or
// the wall clock is behind, expire waits again.
func (d *deadline) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.IsZero() && !d.passed() {
		d.timer.Reset(time.Until(d.at))
		return
	}
	d.wake()
}
