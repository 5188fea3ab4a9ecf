package outbox

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// A queue is what Log and Memory have in common: it numbers readings, decides which of them are
// dropped when there is no room or when they are too old, and knows which of them are in flight. Its
// store keeps the readings.
type queue struct {
	options Options
	epoch   string
	maxSize int           // size in bytes of the largest reading that can ever fit
	changed chan struct{} // the channel that Changed returns

	mu       sync.Mutex
	store    store      // its methods are called with mu held
	room     *sync.Cond // signals that there may be room again
	sealed   bool
	last     uint64
	readings int                // number of readings that are pending, or given to Put and not yet accepted
	bytes    int                // total size of these readings
	inFlight map[uint64]*flight // the readings in flight, by number
	unnamed  notice             // notice that no reading in flight and no acknowledged reading names
}

// A store keeps the readings of a queue. All its methods are called with the queue's lock held.
type store interface {
	// oldest returns the oldest number above after whose reading is pending, may be handed out and is
	// not in flight.
	oldest(after uint64, inFlight map[uint64]*flight) (n uint64, ok bool)
	// age returns for how long a reading has been pending, if that is known.
	age(n uint64, now time.Time, elapsed time.Duration) (age time.Duration, known bool)
	// remove forgets a reading and returns how many bytes it took, or reports false if it is not kept.
	remove(n uint64) (size int, ok bool)
	// release makes oldest find a reading again whose flight has ended, if the reading is kept.
	release(n uint64)
	// acknowledged is called after remove if the hub has acknowledged the reading. named is the notice
	// in the properties of the reading.
	acknowledged(n uint64, named notice)
	// dropped is called for each number whose reading was dropped, whether the store has kept it or not.
	dropped(n uint64, why Reason)
	// sync starts to make safe the readings that were put and that oldest does not find yet, and reports
	// whether there are any. pending is the number of readings that the queue counts.
	sync(pending int) bool
}

// A flight is the delivery of a reading that Peek has handed out.
type flight struct {
	named         notice // notice in the properties of the reading
	isQuarantined bool   // the reading leaves the queue as soon as the quarantine holds it
}

func newQueue(o Options, epoch string, maxSize int) *queue {
	q := &queue{
		options: o, epoch: epoch, maxSize: min(maxSize, o.Limits.Bytes),
		changed: make(chan struct{}, 1), inFlight: map[uint64]*flight{},
	}
	q.room = sync.NewCond(&q.mu)
	return q
}

// Epoch returns the epoch of the IDs that this outbox gives out.
func (q *queue) Epoch() string { return q.epoch }

// Last returns the newest number, or 0 before the first reading.
func (q *queue) Last() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last
}

// Newest returns the newest ID. Its number is 0 before the first reading.
func (q *queue) Newest() ID { return ID{q.epoch, q.Last()} }

// Pending returns how many readings are pending or being put, and how many bytes they take.
func (q *queue) Pending() (readings, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.readings, q.bytes
}

// RequestSync makes the store sync the readings that Peek cannot hand out yet, and reports whether there
// are any.
func (q *queue) RequestSync() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.store.sync(q.readings)
}

// Changed returns a channel that has a value when Peek may find a reading that it did not find before.
func (q *queue) Changed() <-chan struct{} { return q.changed }

func (q *queue) signalChange() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// Seal makes Put return ErrClosed from now on. Pending readings can still be sent.
func (q *queue) Seal() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sealed = true
	q.room.Broadcast()
}

// Remove forgets a reading that Peek has handed out: the hub has acknowledged it.
func (q *queue) Remove(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if f := q.endFlightLocked(n); f != nil && q.forgetLocked(n) {
		q.store.acknowledged(n, f.named)
	}
}

// Leave ends the flight of a reading without an acknowledgement. Peek hands the reading out again, because
// it is not known whether it has arrived.
func (q *queue) Leave(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if f := q.endFlightLocked(n); f != nil {
		q.unnamed.add(f.named)
		q.store.release(n)
	}
}

// endFlightLocked ends the flight of a reading and returns it, or nil if the reading is not in flight.
func (q *queue) endFlightLocked(n uint64) *flight {
	f := q.inFlight[n]
	if f == nil || f.isQuarantined {
		return nil
	}
	delete(q.inFlight, n)
	q.room.Broadcast()
	q.signalChange()
	return f
}

// nextLocked returns the oldest number above after that can be handed out.
func (q *queue) nextLocked(after uint64) (n uint64, ok bool) {
	q.expireLocked()
	return q.store.oldest(after, q.inFlight)
}

// makeRoomLocked drops readings or waits, by the policy, until one more reading of the size fits. It returns an
// error if that is not possible.
func (q *queue) makeRoomLocked(ctx context.Context, size int) error {
	for waits := false; ; {
		limits, next := &q.options.Limits, q.expireLocked()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case q.sealed:
			return ErrClosed
		case size > q.maxSize: // no drop would make enough room
			return ErrFull
		case q.readings < limits.Readings && q.bytes+size <= limits.Bytes:
			return nil
		case limits.Full == Block:
		case limits.Full == DropOldest && q.dropOldestLocked():
			continue
		case limits.Full == DropOldest && q.store.sync(q.readings): // after the sync the oldest can be dropped
		default:
			return ErrFull
		}
		if !waits {
			waits = true
			defer context.AfterFunc(ctx, q.recheckRoom)()
		}
		timer := time.AfterFunc(next, q.recheckRoom)
		q.room.Wait()
		timer.Stop()
	}
}

func (q *queue) recheckRoom() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.room.Broadcast()
}

func (q *queue) dropOldestLocked() bool {
	n, ok := q.store.oldest(0, q.inFlight)
	if ok {
		q.dropLocked(n, NoRoom)
	}
	return ok
}

// expireLocked drops the readings that have been pending for too long, and returns the time until the next check.
func (q *queue) expireLocked() (next time.Duration) {
	limit := q.options.Limits.Age
	if limit <= 0 {
		return math.MaxInt64
	}
	for after, now, elapsed := uint64(0), q.options.Now(), q.options.Elapsed(); ; {
		n, ok := q.store.oldest(after, q.inFlight)
		if !ok {
			return limit
		}
		after = n
		age, known := q.store.age(n, now, elapsed)
		if !known {
			continue // a later reading may have a known age, and be too old
		}
		if left := limit - age; left >= 0 {
			return max(left, left+1) // left+1 may overflow
		}
		q.dropLocked(n, TooOld)
	}
}

// dropLocked drops a reading that is kept.
func (q *queue) dropLocked(n uint64, why Reason) {
	q.forgetLocked(n)
	q.recordDropLocked(n, why)
	q.announce(n, why)
	q.room.Broadcast()
}

// refuseLocked gives a number to a reading for which there is no room, and drops it. The caller announces the drop.
func (q *queue) refuseLocked() (n uint64) {
	q.last++
	q.recordDropLocked(q.last, NoRoom)
	return q.last
}

// recordDropLocked makes the store record a dropped number, and a later reading name it.
func (q *queue) recordDropLocked(n uint64, why Reason) {
	q.unnamed.missing.add(Range{n, n})
	q.store.dropped(n, why)
}

// forgetLocked removes a reading from the store. It returns false if the reading is not kept any more.
func (q *queue) forgetLocked(n uint64) bool {
	size, ok := q.store.remove(n)
	if ok {
		q.bytes -= size
		q.readings--
	}
	return ok
}

func (q *queue) announce(n uint64, why error) { q.options.Dropped(Drop{q.epoch, Range{n, n}, why}) }

// announceUnrecorded announces a drop whose number is not on the disk. A later reading names it.
func (q *queue) announceUnrecorded(why error) { q.options.Dropped(Drop{q.epoch, Range{}, why}) }

// quarantineError returns the error with which a quarantined reading is dropped.
func quarantineError(why error) error { return fmt.Errorf("%w: %w", Quarantined, why) }
