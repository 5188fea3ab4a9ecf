package outbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"giantlizard.example/failover/payloads"
)

// scratchLimit is how many bytes are kept for measuring the next reading.
const scratchLimit = 4 << 10

// growth is how much longer a reading may become than it was measured, with its number and another time.
const growth = 2 * binary.MaxVarintLen64

// An item is a reading on its way to the disk.
type item struct {
	entry Reading // its number is 0 until a commit takes it
	ctx   context.Context
	put   time.Duration // Options.Elapsed
	size  int           // of its frame
	done  chan error
	told  bool     // done has been answered
	in    *segment // where it was written
	place place
}

func (it *item) answer(err error) {
	if !it.told {
		it.told = true
		it.done <- err
	}
}

// Put numbers a reading and returns once it is on the disk. When ctx ends while it is being written, it waits for that.
func (l *Log) Put(ctx context.Context, r payloads.Reading, s Stamp) (ID, error) {
	it, err := l.enqueue(ctx, r, s)
	if err != nil {
		return ID{}, err
	}
	select {
	case err = <-it.done:
	case <-ctx.Done():
		l.withdraw(it)
		err = <-it.done
	}
	if err != nil {
		return ID{}, err
	}
	return it.entry.ID, nil
}

// enqueue hands a reading to the committer, or the news that it was refused.
func (l *Log) enqueue(ctx context.Context, r payloads.Reading, s Stamp) (*item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it := &item{entry: Reading{ID{l.epoch, l.last + 1}, r, s}, ctx: ctx, done: make(chan error, 1)}
	it.size = l.sizeOf(it.entry)
	it.entry.ID.N = 0 // others may get one sooner
	switch err := l.makeRoom(ctx, it.size); {
	case errors.Is(err, ErrFull):
		l.last++
		l.drop(NoRoom, l.last)
		l.work.refused.add(NoRoom, Range{l.last, l.last})
		l.work.waiters = append(l.work.waiters, it)
		l.signal()
		return it, nil
	case err != nil:
		return nil, err
	}
	it.put = l.Elapsed()
	l.readings++
	l.bytes += it.size
	l.work.items = append(l.work.items, it)
	l.signal()
	return it, nil
}

// sizeOf is how long a reading's frame is, as far as that is known before it has its number.
func (l *Log) sizeOf(e Reading) int {
	frame := appendReading(l.scratch[:0], e, l.Now())
	if cap(frame) <= scratchLimit {
		l.scratch = frame
	}
	return frameHead + len(frame)
}

// withdraw answers a Put whose ctx has ended, unless its reading is being written.
func (l *Log) withdraw(it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &l.work
	if i := slices.Index(w.items, it); i >= 0 && !it.told {
		w.items = slices.Concat(w.items[:i], w.items[i+1:])
		l.takeBack(it, it.ctx.Err())
		it.answer(it.ctx.Err())
	} else if slices.Contains(w.waiters, it) {
		it.answer(it.ctx.Err())
	}
}

// takeBack forgets a reading that was never accepted. If it has a number, that could not be written.
func (l *Log) takeBack(it *item, why error) {
	l.readings--
	l.bytes -= it.size
	if n := it.entry.ID.N; n > 0 {
		l.drop(DiskFull, n)
		l.Dropped(Drop{l.epoch, Range{}, fmt.Errorf("%w: %w", DiskFull, why)})
	}
	l.room.Broadcast()
	l.wake() // nobody needs to wait for it
}

// makeRoom follows the policy. When it returns nil, one more reading of the size fits.
func (l *Log) makeRoom(ctx context.Context, size int) error {
	for waits := false; ; {
		next := l.expire()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case l.sealed:
			return ErrClosed
		case size > l.Limits.Bytes || size > frameHead+frameLimit-growth: // nothing would make room for it
			return ErrFull
		case l.readings < l.Limits.Readings && l.bytes+size <= l.Limits.Bytes:
			return nil
		case l.Limits.Full == Block:
		case l.Limits.Full == DropOldest && l.dropOldest():
			continue
		case l.Limits.Full == DropOldest && l.hurry():
		default:
			return ErrFull
		}
		if !waits {
			waits = true
			defer context.AfterFunc(ctx, l.look)()
		}
		timer := time.AfterFunc(next, l.look)
		l.room.Wait()
		timer.Stop()
	}
}

func (l *Log) dropOldest() bool {
	s, n, ok := l.oldest(0)
	if ok {
		l.giveUp(s, n, NoRoom)
	}
	return ok
}

// hurry tells whether there are readings that are not safe yet, and has them made so at once.
func (l *Log) hurry() bool {
	safe := 0
	for _, s := range l.segments {
		safe += s.live
	}
	if l.readings == safe || !l.work.retry.IsZero() {
		return false
	}
	if l.Sync > 0 {
		l.work.syncBy = time.Now()
		l.signal()
	}
	return true
}

// look has those who wait for room look again.
func (l *Log) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room.Broadcast()
}

// expire gives up what has waited for too long, and returns when to look again.
func (l *Log) expire() (next time.Duration) {
	if l.Limits.Age <= 0 {
		return math.MaxInt64
	}
	for after, now, uptime := uint64(0), l.Now(), l.Elapsed()-l.opened; ; {
		s, n, ok := l.oldest(after)
		if !ok {
			return l.Limits.Age
		}
		after = n
		age, known := l.age(n, s.at(n).put, now, uptime)
		if !known {
			continue // those behind it may be too old
		}
		if left := l.Limits.Age - age; left >= 0 {
			return left + 1
		}
		l.giveUp(s, n, TooOld)
	}
}

// age is how long a reading has been pending. For one of this run it does not depend on the wall clock. For
// one of an earlier run it is not known if the clock had not been set then, nor while the clock says that the
// reading is still to come.
func (l *Log) age(n uint64, put uint32, now time.Time, uptime time.Duration) (age time.Duration, known bool) {
	if n > l.earlier {
		return uptime - time.Duration(put)*time.Second, true
	}
	at := time.Unix(int64(put), 0).Add(l.SetSince(ID{l.epoch, n}))
	return now.Sub(at), put > 0 && !at.After(now)
}

// giveUp takes a reading out that waits.
func (l *Log) giveUp(s *segment, n uint64, why Reason) {
	l.bytes -= s.forget(n)
	l.readings--
	l.drop(why, n)
	l.Dropped(Drop{l.epoch, Range{n, n}, why})
	l.room.Broadcast()
}

// drop notes a number as given up.
func (l *Log) drop(why Reason, n uint64) {
	r := Range{n, n}
	l.work.drops.add(why, r)
	l.untold.missing.add(r)
	l.later()
}
