package outbox

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"giantlizard.example/failover/payloads"
)

// Memory is an outbox that lasts as long as its process. Its epoch is new at each start.
type Memory struct {
	// Elapsed is the time since any moment before the first Put; NewMemory lets it be that of the monotonic clock.
	Elapsed func() time.Duration

	limits  Limits
	dropped func(Drop)
	epoch   string
	changed chan struct{}

	mu      sync.Mutex
	room    *sync.Cond // there may be room again
	sealed  bool
	last    uint64
	bytes   int
	untold  notice
	waiting []kept          // by number
	away    map[uint64]kept // handed out
}

// A kept reading is an entry with its size and the time at which it was put.
type kept struct {
	Reading
	size int
	put  time.Duration // Elapsed
	told notice        // by the properties with which it was handed out
}

// NewMemory makes an empty one. before is the last ID of the epoch before, zero if that is not known. dropped, which may be nil,
// hears of each reading that is given up; it must not block, nor call the outbox.
func NewMemory(l Limits, before ID, dropped func(Drop)) *Memory {
	if dropped == nil {
		dropped = func(Drop) {}
	}
	began := time.Now()
	m := &Memory{
		Elapsed: func() time.Duration { return time.Since(began) },
		limits:  l.WithDefaults(), untold: notice{before: before}, dropped: dropped, epoch: newEpoch(),
		changed: make(chan struct{}, 1), away: map[uint64]kept{},
	}
	m.room = sync.NewCond(&m.mu)
	return m
}

// Put numbers a reading and keeps it, making room by the policy if it must.
func (m *Memory) Put(ctx context.Context, r payloads.Reading, s Stamp) (ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := sizeOf(r)
	if err := m.makeRoom(ctx, size); err != nil {
		return ID{}, err
	}
	m.last++
	id := ID{m.epoch, m.last}
	m.bytes += size
	m.waiting = append(m.waiting, kept{Reading: Reading{id, r, s}, size: size, put: m.Elapsed()})
	m.wake()
	return id, nil
}

func (m *Memory) makeRoom(ctx context.Context, size int) error {
	for waits := false; ; {
		next := m.expire()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case m.sealed:
			return ErrClosed
		case size > m.limits.Bytes: // nothing would make room for it
		case len(m.waiting)+len(m.away) < m.limits.Readings && m.bytes+size <= m.limits.Bytes:
			return nil
		case m.limits.Full == Block:
			if !waits {
				waits = true
				defer context.AfterFunc(ctx, m.look)()
			}
			timer := time.AfterFunc(next, m.look)
			m.room.Wait()
			timer.Stop()
			continue
		case m.limits.Full == DropOldest && len(m.waiting) > 0:
			m.giveUp(NoRoom)
			continue
		}
		m.last++
		m.drop(m.last, NoRoom)
		return ErrFull
	}
}

// look has those who wait for room look again.
func (m *Memory) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room.Broadcast()
}

// expire gives up what has waited for too long, whatever the wall clock does, and returns when to look again.
func (m *Memory) expire() (next time.Duration) {
	if m.limits.Age <= 0 {
		return math.MaxInt64
	}
	for len(m.waiting) > 0 {
		if left := m.limits.Age - (m.Elapsed() - m.waiting[0].put); left >= 0 {
			return left + 1
		}
		m.giveUp(TooOld)
	}
	return m.limits.Age
}

// giveUp gives up the oldest that waits.
func (m *Memory) giveUp(why Reason) {
	oldest := m.popFirst()
	m.bytes -= oldest.size
	m.drop(oldest.ID.N, why)
	m.room.Broadcast()
}

func (m *Memory) drop(n uint64, why error) {
	r := Range{n, n}
	m.untold.missing.add(r)
	m.dropped(Drop{m.epoch, r, why})
}

// Peek hands out the oldest waiting entry whose number is above after.
func (m *Memory) Peek(after uint64) (Reading, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	i := m.position(after + 1)
	if i == len(m.waiting) {
		return Reading{}, false
	}
	r := m.waiting[i]
	if i == 0 {
		m.popFirst()
	} else {
		m.waiting = slices.Delete(m.waiting, i, i+1)
	}
	e := r.Reading
	r.told = m.untold.on(&e)
	m.away[r.ID.N] = r
	return e, true
}

// popFirst takes the first and frees its slot, and the array behind the slice with the last.
func (m *Memory) popFirst() kept {
	first := m.waiting[0]
	m.waiting[0] = kept{}
	if m.waiting = m.waiting[1:]; len(m.waiting) == 0 {
		m.waiting = nil
	}
	return first
}

// position is where number n is or would be.
func (m *Memory) position(n uint64) int {
	i, _ := slices.BinarySearchFunc(m.waiting, n, func(r kept, n uint64) int {
		switch {
		case r.ID.N < n:
			return -1
		case r.ID.N > n:
			return 1
		}
		return 0
	})
	return i
}

// Remove forgets an entry that was handed out.
func (m *Memory) Remove(n uint64) { m.settle(n, arrived, nil) }

// Leave takes an entry back that was handed out.
func (m *Memory) Leave(n uint64) { m.settle(n, left, nil) }

// Quarantine takes an entry out of the queue. In memory there is no place to keep it.
func (m *Memory) Quarantine(n uint64, why error) {
	m.settle(n, refused, fmt.Errorf("%w: %w", Quarantined, why))
}

// An outcome is how the way of a reading that was handed out has ended.
type outcome int

const (
	arrived outcome = iota
	left
	refused
)

func (m *Memory) settle(n uint64, how outcome, why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.away[n]
	if !ok {
		return
	}
	delete(m.away, n)
	if how != arrived {
		m.untold.add(r.told)
		r.told = notice{}
	}
	if how == left {
		m.waiting = slices.Insert(m.waiting, m.position(n), r)
	} else {
		m.bytes -= r.size
	}
	if how == refused {
		m.drop(n, why)
	}
	m.room.Broadcast()
	m.wake()
}

func (m *Memory) wake() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Last is the newest number.
func (m *Memory) Last() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// Newest is the newest reading's ID; its number is 0 before the first.
func (m *Memory) Newest() ID { return ID{m.epoch, m.Last()} }

// Waiting is how many readings are kept, and their bytes.
func (m *Memory) Pending() (readings, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting) + len(m.away), m.bytes
}

// Coming is false: what was put can be handed out.
func (m *Memory) RequestSync() bool { return false }

// Changed has a value when something may have been put or left since it was last read.
func (m *Memory) Changed() <-chan struct{} { return m.changed }

// Seal refuses what comes later.
func (m *Memory) Seal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sealed = true
	m.room.Broadcast()
}

// Close is Seal: nothing of it outlives the process.
func (m *Memory) Close() error {
	m.Seal()
	return nil
}

func sizeOf(r payloads.Reading) int {
	n := len(r.Body) + len(r.Component)
	for name, value := range r.Properties {
		n += len(name) + len(value)
	}
	return n
}
