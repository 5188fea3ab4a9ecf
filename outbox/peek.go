package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"
)

// A trip is the way of a reading that was handed out.
type trip struct {
	told      notice // by the properties with which it was handed out
	condemned bool   // it is over, and the reading is on its way into the quarantine
}

// Peek hands out the oldest waiting entry whose number is above after. One that has rotted on the disk is given up.
func (l *Log) Peek(after uint64) (Reading, bool) {
	for {
		l.mu.Lock()
		l.expire()
		s, n, ok := l.oldest(after)
		if !ok || l.work.closing {
			l.mu.Unlock()
			return Reading{}, false
		}
		p, id := *s.at(n), ID{l.epoch, n}
		t := &trip{}
		l.away[n] = t // so that the file stays while it is read
		l.mu.Unlock()
		e, err := l.readFrom(s, p, id)
		if err == nil {
			l.mu.Lock()
			if l.tries, t.told = 0, l.untold.on(&e); l.blind {
				l.blind = false
				l.Warn(errors.New("outbox: readings can be read again"))
			}
			l.mu.Unlock()
			return e, true
		}
		if !l.unreadable(s, n, err) {
			return Reading{}, false
		}
	}
}

// oldest is the oldest reading above a number that waits and may be handed out.
func (l *Log) oldest(after uint64) (*segment, uint64, bool) {
	from, _ := slices.BinarySearchFunc(l.segments, after+1, func(s *segment, n uint64) int {
		if s.end() <= n {
			return -1
		}
		return 1
	})
	for _, s := range l.segments[from:] {
		i := s.low
		if after+1 > s.first {
			i = max(i, int(after+1-s.first))
		}
		for ; s.live > 0 && i < len(s.entries) && s.first+uint64(i) <= l.safe; i++ {
			n := s.first + uint64(i)
			if _, away := l.away[n]; !away && s.entries[i].size > 0 {
				return s, n, true
			}
			if i == s.low {
				s.low++
			}
		}
	}
	return nil, 0, false
}

// patience is how often a reading that cannot be read is tried again, a second apart: the disk or the system may recover.
const patience = 10

// notNow tells whether the process or its rights are short of something, which says nothing about the reading.
func notNow(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, fs.ErrPermission)
}

// gone tells whether the reading is not there any more.
func gone(err error) bool { return errors.Is(err, errRotten) || errors.Is(err, fs.ErrNotExist) }

// unreadable tells whether to go on with the next reading: this one has been given up.
func (l *Log) unreadable(s *segment, n uint64, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.away, n)
	s.low = min(s.low, int(n-s.first))
	if now := time.Now(); !notNow(err) && now.Sub(l.tried) >= retryDelay {
		l.tries, l.tried = l.tries+1, now
	}
	if !gone(err) && l.tries < patience {
		if !l.blind {
			l.blind = true
			l.Warn(fmt.Errorf("outbox: readings cannot be read: %w; that is tried again each second", err))
		}
		l.work.wakeBy = time.Now().Add(retryDelay)
		l.signal()
		return false
	}
	l.tries, s.damaged = 0, true
	l.giveUp(s, n, Damaged)
	l.Warn(fmt.Errorf("outbox: reading %d in %s: %w", n, s.name, err))
	return true
}

// Remove forgets an entry that was handed out.
func (l *Log) Remove(n uint64) {
	l.settle(n, func(s *segment, t *trip) {
		l.forget(s, n)
		l.work.told.add(t.told)
		l.later()
	})
}

// Leave takes an entry back that was handed out.
func (l *Log) Leave(n uint64) {
	l.settle(n, func(s *segment, t *trip) {
		s.low = min(s.low, int(n-s.first))
		l.untold.add(t.told)
	})
}

// Quarantine takes an entry out of the queue, and keeps it beside.
func (l *Log) Quarantine(n uint64, why error) {
	l.settle(n, func(s *segment, t *trip) {
		p := *s.at(n)
		l.work.quarantine = append(l.work.quarantine, condemned{s: s, n: n, place: p, why: why})
		l.untold.add(t.told)
		l.away[n] = &trip{condemned: true} // until it is safe
		l.signal()
	})
}

// forget takes a reading out that a hub has acknowledged, or that is kept elsewhere.
func (l *Log) forget(s *segment, n uint64) {
	l.bytes -= s.forget(n)
	l.readings--
	l.work.settled.add(Range{n, n})
}

func (l *Log) settle(n uint64, how func(*segment, *trip)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.away[n]
	if t == nil || t.condemned {
		return
	}
	delete(l.away, n)
	for _, s := range l.segments {
		if s.at(n) != nil {
			how(s, t)
			break
		}
	}
	l.room.Broadcast()
	l.wake()
}
