package outbox

import (
	"runtime"
	"slices"
	"time"
)

const (
	recordDelay = time.Second // outcomes are recorded with the next reading, or after this time
	retryDelay  = time.Second // time between two attempts on a failing disk

	// A full disk counts as usable again after this time without another drop, and a series of restores
	// as finished after this time without another restore.
	recoveryTime = time.Minute
)

// A committer writes readings and outcomes to the disk. Those that arrive in the diskStore during one
// write share the next. One goroutine calls all methods of the committer and uses its fields. The
// methods lock the queue where they use what its lock guards; a method with the suffix Locked is
// called with that lock held.
type committer struct {
	*Log

	number   uint64   // number of the newest segment
	tail     *segment // nil means that the next commit begins a new segment
	created  bool     // the tail's file is new, and its name is not synced yet
	unsynced batch    // readings and outcomes that were written to the tail and are not synced yet
	buffer   []byte   // memory that the next write reuses

	troubled bool      // Warn has reported that the disk cannot be written
	freed    time.Time // time at which readings were last dropped because the disk was full

	restores restores
}

// A batch is what one commit writes.
type batch struct {
	content
	doomed  []*segment // segments without readings, to be discarded once this batch is safe
	last    uint64     // newest number before this batch
	sync    bool
	isFinal bool // this batch is the last one of the log
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

// commitAll commits what is due, runs a patrol if one is due, and returns how long the committer should
// wait. The wait is never 0: a goroutine that waits for an expired timer runs the timer itself, and two
// such goroutines at once in a synctest bubble crash Go 1.26's race detector (they share one context).
func (c *committer) commitAll() (wait time.Duration) {
	for {
		b, wait := c.gather(false)
		for ; b != nil; b, wait = c.gather(false) {
			_ = c.commit(b)   // commit reports errors to Warn
			runtime.Gosched() // a caller whose Put has just returned can put another reading for the next batch
		}
		wait, due := c.nextPatrol(wait)
		if !due {
			return max(wait, 1)
		}
		_ = c.patrol() // patrol reports errors to Warn
		c.restores.patrolled = time.Now()
	}
}

// finish writes all readings and outcomes that are left at Close, as far as the disk accepts them.
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
		c.failure = c.patrol() // nil means that the next Open will find the pending readings
	}
}

// gather returns the batch to be written now, or nil and how long to wait. If all is true, it ignores
// the times before which nothing is due.
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
	b.sync = d.syncs == 0 || c.troubled || due(d.syncBy) // after an error, only a sync shows that the disk works
	d.content, d.recordBy = content{}, time.Time{}
	if b.puts, d.puts = c.splitPutsLocked(b.puts); len(b.puts) > 0 {
		b.last = b.puts[0].reading.ID.N - 1
	}
	if isolate {
		d.isolateBy = time.Time{}
	} else {
		b.quarantine, d.quarantine = nil, b.quarantine
	}
	// A segment without pending readings may still hold accepted ones that are to be written again.
	if accepted, _ := splitAccepted(d.puts); b.sync && len(accepted) == 0 {
		c.doomLocked(b)
	}
	return b, 0
}

// splitPutsLocked returns the readings that fit into one write, and the remaining ones. Readings get
// their numbers only here, so that a reading whose Put ended earlier leaves no trace.
func (c *committer) splitPutsLocked(puts []*putCall) (now, later []*putCall) {
	size := 0
	for i, p := range puts {
		n := p.reading.ID.N
		if n == 0 {
			n = c.last + 1
		}
		gap := i > 0 && n-puts[i-1].reading.ID.N > maxGap // needs a new segment
		if size += p.size; i > 0 && (size > segmentSize || gap) {
			return puts[:i:i], puts[i:]
		}
		if p.reading.ID.N == 0 { // otherwise Put may be reading the number
			p.reading.ID.N = n
		}
		c.last = max(c.last, n)
	}
	return puts, nil
}

// commit writes a batch, and syncs it if b.sync is true. After an error it puts the batch back.
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
			p.answer(nil) // the reading survives the end of the process, but not yet a power cut
		}
		c.unsynced.puts = append(c.unsynced.puts, b.puts...)
		c.unsynced.outcomes.add(b.outcomes)
		if d.syncBy.IsZero() {
			d.syncBy = time.Now().Add(d.syncs)
		}
	}
	c.signalChange() // also without new readings: the receiver may have to call RequestSync for unsynced ones
	for _, s := range b.doomed {
		d.removeSegment(s)
	}
	older := d.segments[:max(0, len(d.segments)-1)]
	if slices.ContainsFunc(older, func(s *segment) bool { return s.live == 0 && s != c.tail }) {
		d.recordSoon() // the next batch discards the segment, even if it writes nothing else
	}
}
