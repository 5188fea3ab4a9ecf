package outbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"giantlizard.example/failover/payloads"
)

// scratchLimit is the size in bytes of the largest buffer that frameSize keeps for the next reading.
const scratchLimit = 4 << 10

// growth is the number of bytes by which a frame, with its final number and time, may exceed its frameSize.
const growth = 2 * binary.MaxVarintLen64

// A putCall is a call of Put whose reading is on its way to the disk.
type putCall struct {
	reading  Reading // the number is 0 until a commit assigns one
	ctx      context.Context
	put      time.Duration // Options.Elapsed when Put was called
	size     int           // approximate size of the frame in bytes
	done     chan error    // receives the error that Put returns
	answered bool          // Put has returned or is about to; without an error, the reading is accepted
	segment  *segment      // the segment to which the reading was written
	place    place
}

func (p *putCall) answer(err error) {
	if !p.answered {
		p.answered = true
		p.done <- err
	}
}

// Put numbers a reading and returns once it is on the disk, or earlier if Options.Sync allows that.
// If ctx ends while the reading is being written, Put waits for the end of the write. The error is
// ErrFull, ErrClosed, that of ctx, or wraps DiskFull.
func (l *Log) Put(ctx context.Context, r payloads.Reading, s Stamp) (ID, error) {
	p, err := l.startPut(ctx, r, s)
	if err != nil {
		return ID{}, err
	}
	select {
	case err = <-p.done:
	case <-ctx.Done():
		l.withdraw(p)
		err = <-p.done
	}
	if err != nil {
		return ID{}, err
	}
	return p.reading.ID, nil
}

// startPut hands a reading to the committer. If there is no room, the committer gets only the drop to record.
func (l *Log) startPut(ctx context.Context, r payloads.Reading, s Stamp) (*putCall, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &putCall{reading: Reading{ID{l.epoch, l.last + 1}, r, s}, ctx: ctx, done: make(chan error, 1)}
	p.size = l.disk.frameSize(p.reading, l.options.Now())
	p.reading.ID.N = 0 // another reading may get that number
	switch err := l.makeRoomLocked(ctx, p.size); {
	case errors.Is(err, ErrFull):
		n := l.refuseLocked()
		l.disk.outcomes.unannounced.add(NoRoom, Range{n, n})
		l.disk.refused = append(l.disk.refused, p)
		l.disk.signal()
		return p, nil
	case err != nil:
		return nil, err
	}
	p.put = l.options.Elapsed()
	l.readings++
	l.bytes += p.size
	l.disk.puts = append(l.disk.puts, p)
	l.disk.signal()
	return p, nil
}

// frameSize returns the approximate size of a reading's frame in bytes, before the reading has its number.
func (d *diskStore) frameSize(r Reading, now time.Time) int {
	frame := appendReading(d.scratch[:0], r, now)
	if cap(frame) <= scratchLimit {
		d.scratch = frame
	}
	return frameHead + len(frame)
}

// withdraw makes a Put whose ctx has ended return, unless its reading is being written.
func (l *Log) withdraw(p *putCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.disk
	if i := slices.Index(d.puts, p); i >= 0 && !p.answered {
		d.puts = slices.Concat(d.puts[:i], d.puts[i+1:])
		l.takeBackLocked(p, p.ctx.Err())
		p.answer(p.ctx.Err())
	} else if slices.Contains(d.refused, p) {
		p.answer(p.ctx.Err())
	}
}

// takeBackLocked forgets a reading that was not accepted. If the reading has a number, the disk has
// refused it, and takeBackLocked records and announces the drop.
func (l *Log) takeBackLocked(p *putCall, why error) {
	l.readings--
	l.bytes -= p.size
	if n := p.reading.ID.N; n > 0 {
		l.recordDropLocked(n, DiskFull)
		l.announceUnrecorded(fmt.Errorf("%w: %w", DiskFull, why))
	}
	l.room.Broadcast()
	l.signalChange() // nobody has to wait for this reading any more
}
