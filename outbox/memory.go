package outbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"

	"giantlizard.example/failover/payloads"
)

// Memory is an outbox that lasts as long as its process. Its epoch is new at each start.
type Memory struct {
	limits  Limits
	dropped func(Drop)
	epoch   string
	changed chan struct{}

	mu      sync.Mutex
	closed  bool
	last    uint64
	bytes   int
	waiting []Entry          // by number
	away    map[uint64]Entry // handed out
}

// NewMemory makes an empty one. dropped, which may be nil, hears of each reading that is given up; it must not block,
// nor call the outbox.
func NewMemory(l Limits, dropped func(Drop)) *Memory {
	if l.Readings <= 0 {
		l.Readings = 100_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
	if dropped == nil {
		dropped = func(Drop) {}
	}
	epoch := make([]byte, 4)
	rand.Read(epoch) // never fails
	return &Memory{
		limits: l, dropped: dropped, epoch: hex.EncodeToString(epoch),
		changed: make(chan struct{}, 1), away: map[uint64]Entry{},
	}
}

// Put numbers a reading and keeps it, dropping the oldest if it must.
func (m *Memory) Put(ctx context.Context, r payloads.Reading) (ID, error) {
	if err := ctx.Err(); err != nil {
		return ID{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ID{}, ErrClosed
	}
	size := sizeOf(r)
	for len(m.waiting) > 0 && !m.fits(size) {
		oldest := m.popFirst()
		m.bytes -= sizeOf(oldest.Reading)
		m.dropped(Drop{oldest.ID, ErrNoRoom})
	}
	if !m.fits(size) {
		return ID{}, ErrFull
	}
	m.last++
	id := ID{m.epoch, m.last}
	m.bytes += size
	m.waiting = append(m.waiting, Entry{id, r})
	m.wake()
	return id, nil
}

func (m *Memory) fits(size int) bool {
	return len(m.waiting)+len(m.away) < m.limits.Readings && m.bytes+size <= m.limits.Bytes
}

// Peek hands out the oldest waiting entry whose number is above after.
func (m *Memory) Peek(after uint64) (Entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.position(after + 1)
	if i == len(m.waiting) {
		return Entry{}, false
	}
	r := m.waiting[i]
	if i == 0 {
		m.popFirst()
	} else {
		m.waiting = slices.Delete(m.waiting, i, i+1)
	}
	m.away[r.ID.N] = r
	return r, true
}

// popFirst takes the first and frees its slot, which the array behind the slice would keep, and after the last the array.
func (m *Memory) popFirst() Entry {
	first := m.waiting[0]
	m.waiting[0] = Entry{}
	if m.waiting = m.waiting[1:]; len(m.waiting) == 0 {
		m.waiting = nil
	}
	return first
}

// position is where number n is or would be.
func (m *Memory) position(n uint64) int {
	i, _ := slices.BinarySearchFunc(m.waiting, n, func(r Entry, n uint64) int {
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
func (m *Memory) Remove(n uint64) { m.settle(n, false) }

// Leave takes an entry back that was handed out.
func (m *Memory) Leave(n uint64) { m.settle(n, true) }

// Quarantine takes an entry out of the queue. In memory there is no place to keep it.
func (m *Memory) Quarantine(n uint64, why error) {
	if r, ok := m.settle(n, false); ok {
		m.dropped(Drop{r.ID, why})
	}
}

func (m *Memory) settle(n uint64, back bool) (Entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.away[n]
	if !ok {
		return Entry{}, false
	}
	delete(m.away, n)
	if back {
		m.waiting = slices.Insert(m.waiting, m.position(n), r)
	} else {
		m.bytes -= sizeOf(r.Reading)
	}
	m.wake()
	return r, true
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

// Waiting is how many readings are kept, and their bytes.
func (m *Memory) Waiting() (readings, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting) + len(m.away), m.bytes
}

// Changed has a value when something may have been put or left since it was last read.
func (m *Memory) Changed() <-chan struct{} { return m.changed }

// Close refuses what comes later.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func sizeOf(r payloads.Reading) int {
	n := len(r.Body) + len(r.Component)
	for name, value := range r.Properties {
		n += len(name) + len(value)
	}
	return n
}
