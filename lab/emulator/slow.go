package emulator

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Slow is a slow network before an endpoint, each way. Connecting by TCP takes no longer, everything after it does.
const Slow Fault = "slow"

const (
	laneSize = 256 << 10 // bytes under way in one direction, after which whoever sends has to wait
	laneUnit = 1 << 10   // bytes that arrive together at a limited rate
)

// A slowness is what slows one line down.
type slowness struct {
	delay, jitter time.Duration
	rate          int
	rand          *rand.Rand
}

// A lane is one direction of a slow line: what was put on the way, in order.
type lane struct {
	parcels []parcel
	size    int
	busy    time.Time // until when the rate is used up
	last    time.Time // when what was posted last is due
	running bool      // a pump reads or writes the connection
	pump    sync.WaitGroup
}

type parcel struct {
	due  time.Time
	data []byte
	err  error
}

// slow slows the lines that there are; enlist those to come. It is called with the cloud's lock held.
func (d *door) slow(p *Params) {
	d.slowness = p
	for _, l := range d.inOrder() {
		d.enlist(l)
	}
}

func (d *door) enlist(l *link) {
	var s *slowness
	if p := d.slowness; p != nil {
		s = &slowness{p.Delay, p.Jitter, p.Rate, rand.New(rand.NewPCG(d.cloud.config.Rand.Uint64(), 0))}
	}
	l.line.set(func() { l.line.slow = s })
}

// post puts something on the way. It is called with the line's lock held.
func (l *line) post(to *lane, data []byte, err error) {
	due := time.Now()
	if s := l.slow; s != nil {
		if s.rate > 0 {
			to.busy = later(due, to.busy).Add(time.Duration(len(data)) * time.Second / time.Duration(s.rate))
			due = to.busy
		}
		due = due.Add(s.delay)
		if s.jitter > 0 {
			due = due.Add(time.Duration(s.rand.Int64N(int64(s.jitter) + 1)))
		}
	}
	to.last = later(due, to.last)
	to.parcels = append(to.parcels, parcel{to.last, append([]byte(nil), data...), err})
	to.size += len(data)
	l.changed.Broadcast()
}

// postAll splits what comes at a limited rate.
func (l *line) postAll(to *lane, data []byte) {
	for l.slow != nil && l.slow.rate > 0 && len(data) > laneUnit {
		l.post(to, data[:laneUnit], nil)
		data = data[laneUnit:]
	}
	l.post(to, data, nil)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// arrived tells whether the first parcel is there, or else when it will be.
func (l *line) arrived(on *lane) (bool, time.Time) {
	if len(on.parcels) == 0 || l.frozen {
		return false, time.Time{}
	}
	due := on.parcels[0].due
	return !time.Now().Before(due), due
}

// take reads what has arrived. It is called with the lock held.
func (l *line) take(p []byte) (int, error) {
	if err := l.await(&l.readBy, func() (bool, time.Time) { return l.arrived(&l.up) }); err != nil {
		return 0, err
	}
	first := &l.up.parcels[0]
	if first.err != nil {
		return 0, first.err
	}
	n := copy(p, first.data)
	l.up.size -= n
	if first.data = first.data[n:]; len(first.data) == 0 {
		l.up.parcels = l.up.parcels[1:]
	}
	l.changed.Broadcast()
	return n, nil
}

// readAhead notes when things come. From here on the read deadline is the line's own affair.
func (l *line) readAhead() {
	if l.up.running {
		return
	}
	l.up.running = true
	_ = l.Conn.SetReadDeadline(time.Time{})
	l.up.pump.Go(func() {
		batch := make([]byte, 16<<10)
		for l.untilReadable() {
			n, err := l.Conn.Read(batch)
			l.set(func() {
				if n > 0 {
					l.postAll(&l.up, batch[:n])
				}
				if err != nil {
					l.post(&l.up, nil, err)
				}
			})
			if err != nil {
				return
			}
		}
	})
}

// untilReadable waits until more may come, and tells whether anyone cares.
func (l *line) untilReadable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for (l.frozen || l.up.size >= laneSize) && !l.over() {
		l.changed.Wait()
	}
	return !l.over()
}

func (l *line) over() bool { return l.dead || l.draining }

// writeBehind sends what is due.
func (l *line) writeBehind() {
	if l.down.running {
		return
	}
	l.down.running = true
	l.down.pump.Go(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for !l.over() {
			ready, due := l.arrived(&l.down)
			if !ready {
				l.wait(due)
				continue
			}
			data, closing := l.down.parcels[0].data, !l.writeBy.IsZero()
			l.mu.Unlock()
			if closing {
				_ = l.Conn.SetWriteDeadline(time.Now().Add(flushTimeout))
			}
			_, err := l.Conn.Write(data)
			l.mu.Lock()
			l.down.parcels = l.down.parcels[1:]
			l.down.size -= len(data)
			l.dead = l.dead || err != nil
			l.changed.Broadcast()
		}
	})
}

// flush returns when nothing is under way to the client any more, or nothing will arrive.
func (l *line) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.down.parcels) > 0 && !l.over() {
		l.changed.Wait()
	}
}
