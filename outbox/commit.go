package outbox

import (
	"runtime"
	"slices"
	"time"
)

const (
	ackDelay   = time.Second // what is settled is written with the next reading, or after so long
	retryDelay = time.Second // between two tries on a disk that cannot be written
	calm       = time.Minute // after readings were given up on a full disk, until that is over
)

// work is what the committer is to write.
type work struct {
	items      []*item
	settled    ranges
	told       notice
	drops      drops
	refused    drops   // of these, what Dropped has not heard of
	waiters    []*item // were refused, and wait until that is written
	quarantine []condemned
	ackBy      time.Time // settled, told and drops are written by then; zero: there are none
	isolateBy  time.Time // the quarantine is tried again
	syncBy     time.Time // what was written is synced by then; zero: it is
	wakeBy     time.Time // whoever reads is to try again
	retry      time.Time // not before
	closing    bool
}

// A batch is what one commit writes.
type batch struct {
	items      []*item
	settled    ranges
	told       notice
	drops      drops
	refused    drops
	waiters    []*item
	quarantine []condemned
	doomed     []*segment // nothing is left in them; they can go once this is safe
	last       uint64     // the newest number before it
	sync       bool
	final      bool // the log ends with it
}

// empty tells whether there is nothing to append.
func (b *batch) empty() bool {
	return len(b.items) == 0 && len(b.settled) == 0 && b.told.empty() && len(b.drops) == 0
}

// later has what was settled or dropped written soon.
func (l *Log) later() {
	if l.work.ackBy.IsZero() {
		l.work.ackBy = time.Now().Add(ackDelay)
		l.signal()
	}
}

func (l *Log) signal() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// run is the committer: it writes whatever has come together while it wrote.
func (l *Log) run() {
	defer close(l.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(l.writeAll())
		select {
		case <-l.kick:
		case <-timer.C:
		case <-l.stop:
			l.finish()
			l.closeAll()
			return
		}
	}
}

// writeAll writes and looks after whatever is due, and returns how long to wait. That is never 0: a timer that has expired already is run
// by whoever waits for it, and two of those at once in a synctest bubble crash Go 1.26's race detector (they share one context).
func (l *Log) writeAll() (wait time.Duration) {
	for {
		b, wait := l.gather(false)
		for ; b != nil; b, wait = l.gather(false) {
			_ = l.commit(b)   // it was told
			runtime.Gosched() // who was just answered may have the next reading, and it goes with the others
		}
		wait, due := l.nextPatrol(wait)
		if !due {
			return max(wait, 1)
		}
		_ = l.patrol() // it was told
		l.patrolled = time.Now()
	}
}

// finish writes whatever there is, as far as the disk takes it.
func (l *Log) finish() {
	l.restoreAt = time.Time{}
	_ = l.patrol()
	for b, _ := l.gather(true); b != nil; b, _ = l.gather(true) {
		if l.failure = l.commit(b); l.failure == nil {
			continue
		}
		l.mu.Lock()
		again := len(l.work.items) > 0 && l.work.retry.IsZero()
		if !again {
			_, fresh := split(l.work.items)
			l.refuseAll(fresh, l.failure)
		}
		l.mu.Unlock()
		if !again {
			return
		}
	}
	l.conclude()
	if l.restoreAt = (time.Time{}); l.watched() {
		l.failure = l.patrol() // it decides whether the next Open will find what is pending
	}
}

// gather takes what is to be written now, or says how long to wait.
func (l *Log) gather(all bool) (*batch, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, now := &l.work, time.Now()
	if wait := w.retry.Sub(now); wait > 0 && !all {
		return nil, wait
	}
	if w.wakeBy != (time.Time{}) && !now.Before(w.wakeBy) {
		w.wakeBy = time.Time{}
		l.wake()
	}
	due := func(t time.Time) bool { return !t.IsZero() && (all || !now.Before(t)) }
	isolate := len(w.quarantine) > 0 && (all || !now.Before(w.isolateBy))
	if len(w.items) == 0 && len(w.waiters) == 0 && !isolate && !due(w.ackBy) && !due(w.syncBy) {
		wait := time.Hour
		for _, t := range []time.Time{w.ackBy, w.syncBy, w.wakeBy, w.isolateBy} {
			if !t.IsZero() {
				wait = min(wait, t.Sub(now))
			}
		}
		return nil, wait
	}
	b := &batch{settled: w.settled, told: w.told, drops: w.drops, refused: w.refused, waiters: w.waiters, last: l.last}
	b.sync = l.Sync == 0 || l.troubled || due(w.syncBy) // only a sync shows that the trouble is over
	w.settled, w.told, w.drops, w.refused, w.waiters, w.ackBy = nil, notice{}, nil, nil, nil, time.Time{}
	if b.items, w.items = l.portion(w.items); len(b.items) > 0 {
		b.last = b.items[0].entry.ID.N - 1
	}
	if isolate {
		b.quarantine, w.quarantine, w.isolateBy = w.quarantine, nil, time.Time{}
	}
	if accepted, _ := split(w.items); b.sync && len(accepted) == 0 { // else they may stand in what looks doomed
		l.doom(b)
	}
	return b, 0
}

// portion is as many items as one write takes. Those that have no number yet get one, so that one whose Put ends before that
// leaves no trace.
func (l *Log) portion(items []*item) (now, later []*item) {
	size := 0
	for i, it := range items {
		n := it.entry.ID.N
		if n == 0 {
			n = l.last + 1
		}
		gap := i > 0 && n-items[i-1].entry.ID.N > longestGap // begins a segment
		if size += it.size; i > 0 && (size > segmentSize || gap) {
			return items[:i:i], items[i:]
		}
		if it.entry.ID.N == 0 { // else its Put may be reading it
			it.entry.ID.N = n
		}
		l.last = max(l.last, n)
	}
	return items, nil
}

// doom finds the segments in which nothing is left. What is gone from them and from older ones is said again in this commit: the
// older ones live, and a power cut may bring these back until the directory is synced, at the latest with the next segment.
func (l *Log) doom(b *batch) {
	for i, s := range l.segments[:max(0, len(l.segments)-1)] {
		if s.live > 0 || s == l.tail {
			continue
		}
		for _, older := range l.segments[:i+1] {
			b.settled.addAll(older.gone())
		}
		b.doomed, b.sync = append(b.doomed, s), true
	}
}

// commit makes a batch safe, or puts it back.
func (l *Log) commit(b *batch) error {
	isolated, notKept := l.isolate(b.quarantine)
	for _, q := range b.quarantine[:isolated] {
		b.drops.add(Quarantined, Range{q.n, q.n})
	}
	err := l.append(b)
	switch {
	case err == nil && b.sync:
		err = l.flush()
	case err == nil && !b.empty():
		err = l.verifyTail()
	}
	restored := false
	if err != nil {
		restored, err = l.restore(err)
	}
	l.mu.Lock()
	for _, q := range b.quarantine[:isolated] {
		l.leaveQueue(q)
	}
	if notKept != nil {
		l.work.quarantine = append(b.quarantine[isolated:], l.work.quarantine...)
		l.work.isolateBy = time.Now().Add(retryDelay)
	}
	if err != nil {
		l.failed(b, err, restored)
	} else {
		l.committed(b)
	}
	for _, it := range b.waiters {
		it.answer(ErrFull)
	}
	over := len(l.work.quarantine) == 0 && (!b.empty() || isolated > 0) && time.Since(l.freed) > calm
	l.mu.Unlock()
	if restored {
		return nil // the batch was put back and is written again at once
	}
	if err == nil {
		for _, s := range b.doomed {
			l.scrap(s)
		}
		err = notKept
	}
	l.tellDisk(err, over)
	return err
}

// committed is called with the lock held.
func (l *Log) committed(b *batch) {
	l.work.retry = time.Time{}
	if b.sync {
		l.publish(b)
		l.work.syncBy = time.Time{}
	} else {
		for _, it := range b.items {
			it.answer(nil) // the process may be killed now, but there must be no power cut
		}
		u := &l.unsynced
		u.items = append(u.items, b.items...)
		u.drops.addAll(b.drops)
		u.refused.addAll(b.refused)
		u.settled.addAll(b.settled)
		u.told.add(b.told)
		if l.work.syncBy.IsZero() {
			l.work.syncBy = time.Now().Add(l.Sync)
		}
	}
	l.wake() // without a reading, too: those that were put meanwhile may be waited for, and not have been hurried
	for _, s := range b.doomed {
		l.remove(s)
	}
	older := l.segments[:max(0, len(l.segments)-1)]
	if slices.ContainsFunc(older, func(s *segment) bool { return s.live == 0 && s != l.tail }) {
		l.later() // it can go with the next batch, which may have nothing else to do
	}
}

func (l *Log) remove(doomed *segment) {
	for i, s := range l.segments {
		if s == doomed {
			l.segments = append(l.segments[:i:i], l.segments[i+1:]...)
			return
		}
	}
}
