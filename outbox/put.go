package outbox

import (
	"context"
	"math"
	"time"

	"giantlizard.example/failover/payloads"
)

// An item is a reading on its way to the disk.
type item struct {
	entry Entry
	put   time.Time
	size  int // of its frame
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

// Put numbers a reading and returns once it is on the disk.
func (l *Log) Put(ctx context.Context, r payloads.Reading) (ID, error) {
	it, err := l.enqueue(ctx, r)
	if err != nil {
		return ID{}, err
	}
	select {
	case err = <-it.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return ID{}, err
	}
	return it.entry.ID, nil
}

func (l *Log) enqueue(ctx context.Context, r payloads.Reading) (*item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it := &item{entry: Entry{ID{l.epoch, l.last + 1}, r}, done: make(chan error, 1)}
	it.size = frameHead + len(appendReading(nil, it.entry, l.Now()))
	if err := l.makeRoom(ctx, it.size); err != nil {
		return nil, err
	}
	l.last++
	it.entry.ID.N = l.last // others may have come while it waited for room
	if it.put = l.Now(); r.Early != 0 {
		it.put = time.Time{} // by a clock that had not been set, so its age is not known
	}
	l.readings++
	l.bytes += it.size
	l.work.items = append(l.work.items, it)
	l.signal()
	return it, nil
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
		case size > l.Limits.Bytes || size > frameHead+frameLimit: // nothing would make room for it
		case l.readings < l.Limits.Readings && l.bytes+size <= l.Limits.Bytes:
			return nil
		case l.Limits.Full == Block:
			if !waits {
				waits = true
				defer context.AfterFunc(ctx, l.look)()
			}
			timer := time.AfterFunc(next, l.look)
			l.room.Wait()
			timer.Stop()
			continue
		case l.Limits.Full == DropOldest:
			if s, n, ok := l.oldest(0); ok {
				l.giveUp(s, n, NoRoom)
				continue
			}
		}
		l.last++
		l.drop(NoRoom, Range{l.last, l.last}, NoRoom)
		return ErrFull
	}
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
	for after := uint64(0); ; {
		s, n, ok := l.oldest(after)
		if !ok {
			return l.Limits.Age
		}
		put := s.at(n).put
		if after = n; put == 0 {
			continue // those behind it may be too old
		}
		if left := l.Limits.Age - l.Now().Sub(time.Unix(int64(put), 0)); left >= 0 {
			return left + 1
		}
		l.giveUp(s, n, TooOld)
	}
}

// giveUp takes a reading out that waits.
func (l *Log) giveUp(s *segment, n uint64, why Reason) {
	l.bytes -= s.forget(n)
	l.readings--
	l.drop(why, Range{n, n}, why)
	l.room.Broadcast()
}

// drop notes numbers as given up.
func (l *Log) drop(why Reason, r Range, cause error) {
	l.dropped.add(why, r)
	l.work.drops.add(why, r)
	l.untold.missing.add(r)
	l.later()
	l.Dropped(Drop{l.epoch, r, cause})
}
