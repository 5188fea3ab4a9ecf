package outbox

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"giantlizard.example/failover/statefile"
)

// failedLocked puts back a batch that could not be made safe. It is not known how much of the batch the
// disk holds, so nothing more is written to its segment. Readings that were accepted before they were
// safe are written again. The other readings are also written again if the directory was restored;
// otherwise the policy decides about them.
func (c *committer) failedLocked(b *batch, err error, restored bool) {
	d := c.disk
	if s := c.tail; s != nil {
		s.writing.Store(false)
		s.size = s.safe
		if s.size == 0 || c.created && len(c.unsynced.puts) == 0 { // it holds no reading that was accepted and safe
			d.removeSegment(s)
			d.recordGone(d.segments) // the removed segment may have held such records
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
	case len(accepted) > 0: // no other reading can be safe before these
		d.puts = accepted
		c.refuseAllLocked(fresh, err)
	default:
		d.retryAt = time.Time{} // the next Put may try to write at once
		c.refuseAllLocked(tried, err)
	}
	c.room.Broadcast()
	c.signalChange() // RequestSync may return another result now
}

// splitAccepted returns the readings that were accepted, which come first, and the others.
func splitAccepted(puts []*putCall) (accepted, fresh []*putCall) {
	i := slices.IndexFunc(puts, func(p *putCall) bool { return !p.answered })
	if i < 0 {
		return puts, nil
	}
	return puts[:i:i], puts[i:]
}

// unnumberLocked takes back the numbers of readings that were not accepted, unless a higher number was dropped.
func (c *committer) unnumberLocked(fresh []*putCall) {
	for _, p := range slices.Backward(fresh) {
		if n := p.reading.ID.N; n > 0 && n == c.last {
			p.reading.ID.N, c.last = 0, n-1
		}
	}
}

// renumberLocked gives new numbers to readings that were not accepted before the files were restored:
// another process may have given out their old numbers.
func (c *committer) renumberLocked(fresh []*putCall) {
	c.unnumberLocked(fresh)
	for _, p := range fresh {
		if p.reading.ID.N <= c.restores.taken {
			p.reading.ID.N = 0
		}
	}
	c.last = max(c.last, c.restores.taken)
}

// endIfCancelledLocked takes back a reading if the ctx of its Put ended during the write, and reports whether it did.
func (c *committer) endIfCancelledLocked(p *putCall) bool {
	if p.answered || p.ctx.Err() == nil {
		return false
	}
	c.takeBackLocked(p, p.ctx.Err())
	p.answer(p.ctx.Err())
	return true
}

// refuseAllLocked drops readings that were not accepted, and makes their Puts return an error that wraps DiskFull.
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

// isOutOfSpace reports whether a write failed because the disk, a quota or the maximum size of a file is
// exhausted. If files were replaced, it returns false: the log's files are not on the full disk then, so
// dropping readings would free no space.
func isOutOfSpace(err error) bool {
	return !errors.Is(err, statefile.ErrReplaced) &&
		(errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG))
}

// dropSegmentLocked frees space on a full disk, and reports whether it could: it drops all readings of
// the oldest undamaged segment that has no reading in flight. It never drops the newest segment, because
// that one records which numbers were given out.
func (c *committer) dropSegmentLocked() bool {
	d := c.disk
	for i, s := range d.segments[:max(0, len(d.segments)-1)] {
		if s.damaged || c.hasInFlightLocked(s) {
			continue
		}
		for n := range s.kept {
			c.dropLocked(n, DiskFull)
		}
		d.recordGone(d.segments[:i]) // the segment may have held such records
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

// warnDisk reports to Warn once that readings cannot be written, and once that they can be written again.
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

// unwritable returns an error that says what failed, why, and what the operator should do.
func unwritable(what string, err error) error {
	if errors.Is(err, statefile.ErrReplaced) {
		return fmt.Errorf("outbox: %s: %w", what, err)
	}
	advice := statefile.Advice(err, "make room, or make the directory writable")
	return fmt.Errorf("outbox: %s: %w; %s", what, err, advice)
}
