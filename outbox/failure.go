package outbox

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"giantlizard.example/failover/statefile"
)

// failedLocked puts a batch back that could not be made safe. What was written of it is in doubt, so
// nothing more is written to its segment. Readings that were accepted before they were safe are
// written again; so are the others if the directory was restored, else the policy decides.
func (c *committer) failedLocked(b *batch, err error, restored bool) {
	d := c.disk
	if s := c.tail; s != nil {
		s.writing.Store(false)
		s.size = s.safe
		if s.size == 0 || c.created && len(c.unsynced.puts) == 0 { // no reading in it counts
			d.removeSegment(s)
			d.recordGone(d.segments) // it may have said so
			defer c.handles.discard(s)
		}
		c.tail, c.created = nil, false
	}
	for _, doubtful := range []*batch{&c.unsynced, b} {
		doubtful.outcomes.announce(func(_ uint64, why Reason) { c.announceUnrecorded(why) })
		d.outcomes.add(doubtful.outcomes)
	}
	tried := slices.Concat(c.unsynced.puts, b.puts)
	queue := append(tried, d.puts...)
	c.unsynced, d.syncBy = batch{}, time.Time{}
	d.retryAt, d.recordBy = time.Now().Add(retryDelay), time.Now().Add(retryDelay)
	full := c.options.Limits.Full
	switch accepted, fresh := splitAccepted(queue); {
	case restored:
		c.renumberLocked(fresh)
		d.puts, d.retryAt = queue, time.Time{}
	case full == Block && !d.closing:
		c.unnumberLocked(fresh)
		d.puts = slices.DeleteFunc(queue, c.endIfCancelledLocked)
	case len(tried) > 0 && full == DropOldest && isOutOfSpace(err) && c.dropSegmentLocked():
		d.puts, d.retryAt, c.freed = queue, time.Time{}, time.Now()
	case len(accepted) > 0: // until they are safe, no other can be
		d.puts = accepted
		c.refuseAllLocked(fresh, err)
	default:
		d.retryAt = time.Time{} // the next reading may try at once
		c.refuseAllLocked(tried, err)
	}
	c.room.Broadcast()
	c.signalChange() // RequestSync is false for a while
}

// splitAccepted returns the readings that were accepted, which come first, and the others.
func splitAccepted(puts []*putCall) (accepted, fresh []*putCall) {
	i := slices.IndexFunc(puts, func(p *putCall) bool { return !p.answered })
	if i < 0 {
		return puts, nil
	}
	return puts[:i:i], puts[i:]
}

// unnumberLocked takes the numbers back of readings that were not accepted, unless a later number was dropped.
func (c *committer) unnumberLocked(fresh []*putCall) {
	for _, p := range slices.Backward(fresh) {
		if n := p.reading.ID.N; n > 0 && n == c.last {
			p.reading.ID.N, c.last = 0, n-1
		}
	}
}

// renumberLocked gives new numbers to readings that were not accepted before the files were restored:
// another process may have given out theirs.
func (c *committer) renumberLocked(fresh []*putCall) {
	c.unnumberLocked(fresh)
	for _, p := range fresh {
		if p.reading.ID.N <= c.restores.taken {
			p.reading.ID.N = 0
		}
	}
	c.last = max(c.last, c.restores.taken)
}

// endIfCancelledLocked takes a reading back whose Put was told to end while the reading was written.
func (c *committer) endIfCancelledLocked(p *putCall) bool {
	if p.answered || p.ctx.Err() == nil {
		return false
	}
	c.takeBackLocked(p, p.ctx.Err())
	p.answer(p.ctx.Err())
	return true
}

// refuseAllLocked drops readings that were not accepted.
func (c *committer) refuseAllLocked(fresh []*putCall, err error) {
	for _, p := range fresh {
		if p.reading.ID.N == 0 {
			c.last++
			p.reading.ID.N = c.last
		}
		c.takeBackLocked(p, err)
		p.answer(fmt.Errorf("outbox: %w: %w", DiskFull, err))
	}
}

// isOutOfSpace reports whether the disk or a quota has no room for more. If files were replaced, it
// returns false: they are not on that disk, so a drop would make no room.
func isOutOfSpace(err error) bool {
	return !errors.Is(err, statefile.ErrReplaced) &&
		(errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG))
}

// dropSegmentLocked makes room on a full disk: it drops the readings of the oldest segment of which
// none is in flight. The newest segment is never dropped: it knows the numbers. While files cannot be
// restored, this would make no room, for they are not on that disk.
func (c *committer) dropSegmentLocked() bool {
	d := c.disk
	for i, s := range d.segments[:max(0, len(d.segments)-1)] {
		if s.damaged || c.hasInFlightLocked(s) {
			continue
		}
		for n := range s.kept {
			c.dropLocked(n, DiskFull)
		}
		d.recordGone(d.segments[:i]) // the segment may have said so
		d.removeSegment(s)
		c.handles.discard(s)
		return true
	}
	return false
}

func (c *committer) hasInFlightLocked(s *segment) bool {
	for n := range c.inFlight {
		if n >= s.first && n < s.end() {
			return true
		}
	}
	return false
}

// warnDisk says once that the disk cannot be written, and once that it can again.
func (c *committer) warnDisk(err error, over bool) {
	switch {
	case err != nil && !c.troubled:
		c.options.Warn(unwritable("readings cannot be written", err))
		c.troubled = true
	case err == nil && c.troubled && over:
		c.options.Warn(errors.New("outbox: readings can be written again"))
		c.troubled = false
	}
}

// unwritable says what failed and what to do about it.
func unwritable(what string, err error) error {
	if errors.Is(err, statefile.ErrReplaced) {
		return fmt.Errorf("outbox: %s: %w", what, err)
	}
	advice := statefile.Advice(err, "make room, or make the directory writable")
	return fmt.Errorf("outbox: %s: %w; %s", what, err, advice)
}
