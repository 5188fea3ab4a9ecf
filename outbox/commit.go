package outbox

import (
	"runtime"
	"slices"
	"time"
)

const (
	recordDelay  = time.Second // outcomes are recorded with the next reading, or after this time
	retryDelay   = time.Second // between two attempts on a disk that cannot be written
	recoveryTime = time.Minute // without a drop on a full disk or a restore: then such a trouble counts as over
)

// A committer writes what comes together in the diskStore while it is writing. All its methods belong
// to one goroutine, and so do the fields. Where it needs what the queue's lock guards, it takes the
// lock; methods that need it have the suffix Locked.
type committer struct {
	*Log

	number   uint64   // of the newest segment
	tail     *segment // nil means that the next commit begins one
	created  bool     // the tail's name is not safe yet
	unsynced batch    // written to the tail, and not safe yet
	buffer   []byte   // for the next write

	troubled bool      // Warn was told that the disk cannot be written
	freed    time.Time // when readings were last dropped to make room on a full disk

	restores restores
}

// A batch is what one commit writes.
type batch struct {
	content
	doomed  []*segment // they keep no reading, and can go once this is safe
	last    uint64     // the newest number before it
	sync    bool
	isFinal bool // the log ends with it
}

func (b *batch) isEmpty() bool { return len(b.puts) == 0 && b.outcomes.isEmpty() }

// run is the committer's goroutine.
func (c *committer) run() {
	defer close(c.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(c.commitAll())
		select {
		case <-c.disk.kick:
		case <-timer.C:
		case <-c.stop:
			c.finish()
			for _, s := range c.segments() {
				c.handles.close(s)
			}
			_ = c.handles.files.Close()
			return
		}
	}
}

// segments returns a copy of the list of segments.
func (c *committer) segments() []*segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.disk.segments)
}

// commitAll does whatever is due, and returns how long to wait. That is never 0: a timer that has
// expired already is run by whoever waits for it, and two of those at once in a synctest bubble crash
// Go 1.26's race detector (they share one context).
func (c *committer) commitAll() (wait time.Duration) {
	for {
		b, wait := c.gather(false)
		for ; b != nil; b, wait = c.gather(false) {
			_ = c.commit(b)   // Warn was told of an error
			runtime.Gosched() // who was just answered may have the next reading, which then goes with the others
		}
		wait, due := c.nextPatrol(wait)
		if !due {
			return max(wait, 1)
		}
		_ = c.patrol() // Warn was told of an error
		c.restores.patrolled = time.Now()
	}
}

// finish writes whatever there is, as far as the disk accepts it.
func (c *committer) finish() {
	c.restores.notBefore = time.Time{}
	_ = c.patrol()
	for b, _ := c.gather(true); b != nil; b, _ = c.gather(true) {
		if c.failure = c.commit(b); c.failure == nil {
			continue
		}
		c.mu.Lock()
		again := len(c.disk.puts) > 0 && c.disk.retryAt.IsZero()
		if !again {
			_, fresh := splitAccepted(c.disk.puts)
			c.refuseAllLocked(fresh, c.failure)
		}
		c.mu.Unlock()
		if !again {
			return
		}
	}
	c.conclude()
	c.restores.notBefore = time.Time{}
	if c.needsPatrol() {
		c.failure = c.patrol() // it decides whether the next Open will find what is pending
	}
}

// gather takes what is to be written now, or returns nil and how long to wait. With all it takes
// whatever there is.
func (c *committer) gather(all bool) (*batch, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, now := c.disk, time.Now()
	if wait := d.retryAt.Sub(now); wait > 0 && !all {
		return nil, wait
	}
	if !d.peekBy.IsZero() && !now.Before(d.peekBy) {
		d.peekBy = time.Time{}
		c.signalChange()
	}
	due := func(t time.Time) bool { return !t.IsZero() && (all || !now.Before(t)) }
	isolate := len(d.quarantine) > 0 && (all || !now.Before(d.isolateBy))
	if len(d.puts) == 0 && len(d.refused) == 0 && !isolate && !due(d.recordBy) && !due(d.syncBy) {
		wait := time.Hour
		for _, t := range []time.Time{d.recordBy, d.syncBy, d.peekBy, d.isolateBy} {
			if !t.IsZero() {
				wait = min(wait, t.Sub(now))
			}
		}
		return nil, wait
	}
	b := &batch{content: d.content, last: c.last}
	b.sync = d.syncs == 0 || c.troubled || due(d.syncBy) // only a sync shows that the trouble is over
	d.content, d.recordBy = content{}, time.Time{}
	if b.puts, d.puts = c.splitPutsLocked(b.puts); len(b.puts) > 0 {
		b.last = b.puts[0].reading.ID.N - 1
	}
	if isolate {
		d.isolateBy = time.Time{}
	} else {
		b.quarantine, d.quarantine = nil, b.quarantine
	}
	// A segment that looks empty may hold readings that were just accepted.
	if accepted, _ := splitAccepted(d.puts); b.sync && len(accepted) == 0 {
		c.doomLocked(b)
	}
	return b, 0
}

// splitPutsLocked returns as many readings as one write takes, and the others. Only now does a reading
// get its number, so that one whose Put has ended before leaves no trace.
func (c *committer) splitPutsLocked(puts []*putCall) (now, later []*putCall) {
	size := 0
	for i, p := range puts {
		n := p.reading.ID.N
		if n == 0 {
			n = c.last + 1
		}
		gap := i > 0 && n-puts[i-1].reading.ID.N > maxGap // begins a segment
		if size += p.size; i > 0 && (size > segmentSize || gap) {
			return puts[:i:i], puts[i:]
		}
		if p.reading.ID.N == 0 { // else its Put may be reading it
			p.reading.ID.N = n
		}
		c.last = max(c.last, n)
	}
	return puts, nil
}

// commit makes a batch safe, or puts it back.
func (c *committer) commit(b *batch) error {
	isolated, notKept := c.isolate(b.quarantine)
	for _, q := range b.quarantine[:isolated] {
		b.outcomes.dropped.add(Quarantined, Range{q.n, q.n})
	}
	err := c.append(b)
	switch {
	case err == nil && b.sync:
		err = c.flush()
	case err == nil && !b.isEmpty():
		err = c.verifyTail()
	}
	restored := false
	if err != nil {
		restored, err = c.restore(err)
	}
	c.mu.Lock()
	for _, q := range b.quarantine[:isolated] {
		c.leaveQueueLocked(q)
	}
	if notKept != nil {
		c.disk.quarantine = append(b.quarantine[isolated:], c.disk.quarantine...)
		c.disk.isolateBy = time.Now().Add(retryDelay)
	}
	if err != nil {
		c.failedLocked(b, err, restored)
	} else {
		c.committedLocked(b)
	}
	for _, p := range b.refused {
		p.answer(ErrFull)
	}
	over := len(c.disk.quarantine) == 0 && (!b.isEmpty() || isolated > 0) && time.Since(c.freed) > recoveryTime
	c.mu.Unlock()
	if restored {
		return nil // the batch was put back and is written again at once
	}
	if err == nil {
		for _, s := range b.doomed {
			c.handles.discard(s)
		}
		err = notKept
	}
	c.warnDisk(err, over)
	return err
}

func (c *committer) committedLocked(b *batch) {
	d := c.disk
	d.retryAt = time.Time{}
	if b.sync {
		c.publishLocked(b)
		d.syncBy = time.Time{}
	} else {
		for _, p := range b.puts {
			p.answer(nil) // the process may be killed now, but there must be no power cut
		}
		c.unsynced.puts = append(c.unsynced.puts, b.puts...)
		c.unsynced.outcomes.add(b.outcomes)
		if d.syncBy.IsZero() {
			d.syncBy = time.Now().Add(d.syncs)
		}
	}
	c.signalChange() // without a reading, too: RequestSync may have to be called for those that were put meanwhile
	for _, s := range b.doomed {
		d.removeSegment(s)
	}
	older := d.segments[:max(0, len(d.segments)-1)]
	if slices.ContainsFunc(older, func(s *segment) bool { return s.live == 0 && s != c.tail }) {
		d.recordSoon() // it can go with the next batch, which may have nothing else to do
	}
}
