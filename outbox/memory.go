package outbox

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"giantlizard.example/failover/payloads"
)

// Memory is an outbox that lasts as long as its process. Each Memory has an epoch of its own.
type Memory struct {
	*queue
	kept memoryStore
}

// NewMemory makes an empty outbox in memory. Of the options, it uses Limits, Previous, Dropped and Elapsed.
func NewMemory(o Options) *Memory {
	m := &Memory{queue: newQueue(o.withDefaults(), newEpoch(), math.MaxInt)}
	m.store, m.unnamed.previous = &m.kept, o.Previous
	return m
}

// Put numbers a reading and keeps it. If the outbox is full, Put acts by the policy.
func (m *Memory) Put(ctx context.Context, r payloads.Reading, s Stamp) (ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := sizeOf(r)
	if err := m.makeRoomLocked(ctx, size); err != nil {
		if errors.Is(err, ErrFull) {
			m.announce(m.refuseLocked(), NoRoom)
		}
		return ID{}, err
	}
	m.last++
	m.readings++
	m.bytes += size
	m.kept.add(m.last, &slot{r, s, size, m.options.Elapsed()})
	m.signalChange()
	return ID{m.epoch, m.last}, nil
}

// Peek hands out the oldest reading that is pending and whose number is above after.
func (m *Memory) Peek(after uint64) (Reading, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.nextLocked(after)
	if !ok {
		return Reading{}, false
	}
	s := m.kept.at(n)
	r := Reading{ID{m.epoch, n}, s.reading, s.stamp}
	m.inFlight[n] = &flight{named: m.unnamed.attachTo(&r)}
	return r, true
}

// Quarantine drops a reading that Peek has handed out, because a Memory has no quarantine.
func (m *Memory) Quarantine(n uint64, why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.endFlightLocked(n); f != nil {
		m.unnamed.add(f.named)
		m.forgetLocked(n)
		m.recordDropLocked(n, Quarantined)
		m.announce(n, quarantineError(why))
	}
}

// Close only calls Seal: no reading of a Memory outlives the process.
func (m *Memory) Close() error {
	m.Seal()
	return nil
}

// A memoryStore keeps readings in memory. Its blocks let it free memory in whatever order readings are removed.
type memoryStore struct{ blocks []*block[*slot] }

// A slot holds one reading.
type slot struct {
	reading payloads.Reading
	stamp   Stamp
	size    int
	put     time.Duration // Options.Elapsed when the reading was put
}

const slotsPerBlock = 256

func sizeOf(r payloads.Reading) int {
	n := len(r.Body) + len(r.Component)
	for name, value := range r.Properties {
		n += len(name) + len(value)
	}
	return n
}

func (m *memoryStore) add(n uint64, s *slot) {
	newest := len(m.blocks) - 1
	if newest < 0 || n-m.blocks[newest].first >= slotsPerBlock {
		if newest >= 0 && m.blocks[newest].live == 0 {
			m.blocks = m.blocks[:newest]
		}
		m.blocks = append(m.blocks, &block[*slot]{first: n, places: make([]*slot, 0, slotsPerBlock)})
	}
	m.blocks[len(m.blocks)-1].add(n, s)
}

// at returns the slot of a reading that is kept.
func (m *memoryStore) at(n uint64) *slot { return *m.blocks[search(m.blocks, n)].at(n) }

func (m *memoryStore) oldest(after uint64, inFlight map[uint64]*flight) (uint64, bool) {
	for _, b := range m.blocks[search(m.blocks, after+1):] {
		if n, ok := b.oldest(after, math.MaxUint64, inFlight); ok {
			return n, true
		}
	}
	return 0, false
}

func (m *memoryStore) age(n uint64, _ time.Time, elapsed time.Duration) (time.Duration, bool) {
	return elapsed - m.at(n).put, true
}

// remove forgets a reading. It also frees the block when its last reading is removed, unless add still uses the block.
func (m *memoryStore) remove(n uint64) (size int, ok bool) {
	i := search(m.blocks, n)
	b := m.blocks[i]
	size = (*b.at(n)).size
	b.remove(n)
	if b.live == 0 && i < len(m.blocks)-1 {
		m.blocks = slices.Delete(m.blocks, i, i+1)
	}
	return size, true
}

func (m *memoryStore) release(n uint64) { m.blocks[search(m.blocks, n)].release(n) }

func (m *memoryStore) acknowledged(uint64, notice) {}
func (m *memoryStore) dropped(uint64, Reason)      {}
func (m *memoryStore) sync(int) bool               { return false }
