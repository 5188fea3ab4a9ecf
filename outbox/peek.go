package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// Peek hands out the oldest reading that is pending and whose number is above after. It drops a
// reading whose record has changed on the disk. While readings cannot be read for another reason, it
// returns false, and Changed signals when to try again.
func (l *Log) Peek(after uint64) (Reading, bool) {
	for {
		l.mu.Lock()
		n, ok := l.nextLocked(after)
		if !ok || l.disk.closing {
			l.mu.Unlock()
			return Reading{}, false
		}
		s := l.disk.find(n)
		p, id, f := *s.at(n), ID{l.epoch, n}, &flight{}
		l.inFlight[n] = f // dropSegmentLocked keeps a segment with a reading in flight
		l.mu.Unlock()
		r, err := l.handles.read(s, p, id)
		if err == nil {
			l.mu.Lock()
			f.named = l.unnamed.attachTo(&r)
			if l.disk.reads.count = 0; l.disk.reads.warned {
				l.disk.reads.warned = false
				l.options.Warn(errors.New("outbox: readings can be read again"))
			}
			l.mu.Unlock()
			return r, true
		}
		if !l.dropUnreadable(s, n, err) {
			return Reading{}, false
		}
	}
}

// maxReads is the number of attempts to read a reading, a second apart, before the reading is dropped:
// the disk or the system may recover.
const maxReads = 10

// isTemporary reports whether a read failed because the process lacks memory, file descriptors or
// permissions. Such an error says nothing about the reading.
func isTemporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, fs.ErrPermission)
}

// isGone reports whether err means that the reading is damaged or that its file does not exist any more.
func isGone(err error) bool { return errors.Is(err, errRotten) || errors.Is(err, fs.ErrNotExist) }

// A readFailure counts the failed attempts to read a reading.
type readFailure struct {
	count  int
	last   time.Time // time of the last counted attempt
	warned bool
}

// isLast counts a failed attempt, and reports whether it is the last one.
func (f *readFailure) isLast(err error) bool {
	if now := time.Now(); !isTemporary(err) && now.Sub(f.last) >= retryDelay {
		f.count, f.last = f.count+1, now
	}
	return isGone(err) || f.count >= maxReads
}

// dropUnreadable drops a reading that cannot be read, or returns false if Peek should try again later.
func (l *Log) dropUnreadable(s *segment, n uint64, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.inFlight, n)
	s.release(n)
	reads := &l.disk.reads
	if !reads.isLast(err) {
		if !reads.warned {
			reads.warned = true
			l.options.Warn(fmt.Errorf("outbox: readings cannot be read: %w; the outbox tries again each second", err))
		}
		l.disk.peekBy = time.Now().Add(retryDelay)
		l.disk.signal()
		return false
	}
	reads.count, s.damaged = 0, true
	if s.at(n) != nil { // otherwise a restore has dropped the reading meanwhile
		l.dropLocked(n, Damaged)
	}
	l.options.Warn(fmt.Errorf("outbox: reading %d in %s: %w", n, s.name, err))
	return true
}

// Quarantine moves a reading that Peek has handed out from the queue to the quarantine.
func (l *Log) Quarantine(n uint64, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, s := l.endFlightLocked(n), l.disk.find(n)
	if f != nil && s != nil {
		l.disk.quarantine = append(l.disk.quarantine, quarantining{segment: s, n: n, place: *s.at(n), why: why})
		l.unnamed.add(f.named)
		l.inFlight[n] = &flight{isQuarantined: true} // in flight until the quarantine holds it
		l.disk.signal()
	}
}
