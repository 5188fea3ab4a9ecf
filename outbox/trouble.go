package outbox

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"giantlizard.example/failover/statefile"
)

// failed is called with the lock held. What was written is in doubt, so nothing is ever added to that segment. Readings that
// were accepted before they were safe are written again; so are the others if the directory was restored, else the policy decides.
func (l *Log) failed(b *batch, err error, restored bool) {
	w := &l.work
	if s := l.tail; s != nil {
		s.writing.Store(false)
		s.size = s.safe
		if s.size == 0 || l.created && len(l.unsynced.items) == 0 { // no reading in it counts, and each try leaves another
			l.remove(s)
			for _, older := range l.segments {
				w.settled.addAll(older.gone()) // what it said of them
			}
			defer l.scrap(s)
		}
		l.tail, l.created = nil, false
	}
	for _, doubtful := range []*batch{&l.unsynced, b} {
		w.settled.addAll(doubtful.settled)
		w.told.add(doubtful.told)
		w.drops.addAll(doubtful.drops)
		doubtful.refused.each(func(why Reason, _ uint64) { l.Dropped(Drop{l.epoch, Range{}, why}) })
	}
	tried := slices.Concat(l.unsynced.items, b.items)
	queue := append(tried, w.items...)
	l.unsynced, w.syncBy = batch{}, time.Time{}
	w.retry, w.ackBy = time.Now().Add(retryDelay), time.Now().Add(retryDelay)
	switch accepted, fresh := split(queue); {
	case restored:
		l.renumber(fresh)
		w.items, w.retry = queue, time.Time{}
	case l.Limits.Full == Block && !w.closing:
		l.unnumber(fresh)
		w.items = slices.DeleteFunc(queue, l.expired)
	case len(tried) > 0 && l.Limits.Full == DropOldest && outOfSpace(err) && !errors.Is(err, statefile.ErrReplaced) && l.freeOldest():
		w.items, w.retry, l.freed = queue, time.Time{}, time.Now()
	case len(accepted) > 0: // until they are safe, no other can be
		w.items = accepted
		l.refuseAll(fresh, err)
	default:
		w.retry = time.Time{} // the next reading may try at once
		l.refuseAll(tried, err)
	}
	l.room.Broadcast()
	l.wake() // nothing is coming for a while
}

// unnumber takes back the numbers of readings that were not accepted, unless a later one has been given up.
func (l *Log) unnumber(items []*item) {
	for _, it := range slices.Backward(items) {
		if n := it.entry.ID.N; n > 0 && n == l.last {
			it.entry.ID.N, l.last = 0, n-1
		}
	}
}

// renumber is for readings that were not accepted before the files were restored: another process may have given out their numbers.
func (l *Log) renumber(items []*item) {
	l.unnumber(items)
	for _, it := range items {
		if it.entry.ID.N <= l.taken {
			it.entry.ID.N = 0
		}
	}
	l.last = max(l.last, l.taken)
}

// expired takes back a reading whose Put was told to end while it was written.
func (l *Log) expired(it *item) bool {
	if it.told || it.ctx.Err() == nil {
		return false
	}
	l.takeBack(it, it.ctx.Err())
	it.answer(it.ctx.Err())
	return true
}

// split tells those that were accepted, which come first, from those that were not.
func split(items []*item) (accepted, fresh []*item) {
	i := slices.IndexFunc(items, func(it *item) bool { return !it.told })
	if i < 0 {
		return items, nil
	}
	return items[:i:i], items[i:]
}

// refuseAll gives readings up that were never accepted.
func (l *Log) refuseAll(items []*item, err error) {
	for _, it := range items {
		if it.entry.ID.N == 0 {
			l.last++
			it.entry.ID.N = l.last
		}
		l.takeBack(it, err)
		it.answer(fmt.Errorf("outbox: %w: %w", DiskFull, err))
	}
}

// outOfSpace tells whether there is no room for more, a quota's included.
func outOfSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// freeOldest makes room on a full disk with the oldest segment of which nothing is on its way. The newest is never given up: it
// knows the numbers. While files cannot be restored it would make no room, for they are not on that disk.
func (l *Log) freeOldest() bool {
	for i, s := range l.segments[:max(0, len(l.segments)-1)] {
		if s.damaged || l.isAway(s) {
			continue
		}
		for n := s.first; n < s.end(); n++ {
			if s.at(n) != nil {
				l.giveUp(s, n, DiskFull)
			}
		}
		for _, older := range l.segments[:i] {
			l.work.settled.addAll(older.gone()) // the segment may have said so
		}
		l.segments = append(l.segments[:i:i], l.segments[i+1:]...)
		l.scrap(s)
		return true
	}
	return false
}

func (l *Log) isAway(s *segment) bool {
	for n := range l.away {
		if n >= s.first && n < s.end() {
			return true
		}
	}
	return false
}

// tellDisk says once that the disk cannot be written, and once that it can again.
func (l *Log) tellDisk(err error, over bool) {
	switch {
	case err != nil && !l.troubled:
		l.Warn(unwritable("readings cannot be written", err))
		l.troubled = true
	case err == nil && l.troubled && over:
		l.Warn(errors.New("outbox: readings can be written again"))
		l.troubled = false
	}
}

// unwritable says what failed and what to do about it.
func unwritable(what string, err error) error {
	if errors.Is(err, statefile.ErrReplaced) {
		return fmt.Errorf("outbox: %s: %w", what, err)
	}
	return fmt.Errorf("outbox: %s: %w; %s", what, err, statefile.Advice(err, "make room, or make the directory writable"))
}
