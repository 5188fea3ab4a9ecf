// Package outbox keeps readings until a hub has acknowledged them.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"giantlizard.example/failover/payloads"
)

var (
	// ErrClosed is what Put returns after Close.
	ErrClosed = errors.New("the outbox is closed")
	// ErrFull is what Put returns when nothing may be dropped to make room: all that waits is on its way to a hub.
	ErrFull = errors.New("the outbox is full of readings that are on their way")
)

// An ID names a reading, everywhere and for ever: the epoch is new with each new outbox, and N counts 1, 2, 3, … within
// it. So whoever sees the IDs knows what is missing. On the wire it is the message ID.
type ID struct {
	Epoch string
	N     uint64
}

func (id ID) String() string { return id.Epoch + "-" + strconv.FormatUint(id.N, 10) }

// An Entry is a reading with its number.
type Entry struct {
	ID      ID
	Reading payloads.Reading
}

// Limits bound an outbox. When a Put would pass one, the oldest readings that are not on their way are dropped.
type Limits struct {
	Readings int // 100,000 when 0
	Bytes    int // of bodies and properties; 64 MiB when 0
}

// An Outbox is a queue with a memory of what is on its way. An entry that Peek has handed out is on its way until
// Remove, Leave or Quarantine says how that ended. All methods may be called from any goroutine.
type Outbox interface {
	// Put numbers a reading and keeps it. When it returns nil the reading is accepted: as safe as this outbox makes it.
	Put(ctx context.Context, r payloads.Reading) (ID, error)
	// Peek hands out the oldest waiting entry whose number is above after.
	Peek(after uint64) (Entry, bool)
	// Remove forgets an entry that was handed out: a hub has acknowledged it.
	Remove(n uint64)
	// Leave takes an entry back that was handed out: it is not known to have arrived.
	Leave(n uint64)
	// Quarantine takes an entry out of the queue that no hub will take.
	Quarantine(n uint64, why error)
	// Last is the newest number, 0 before the first.
	Last() uint64
	// Waiting is how many readings are neither removed nor quarantined, and their bytes.
	Waiting() (readings, bytes int)
	// Changed has a value when something may have been put or left since it was last read.
	Changed() <-chan struct{}
	// Close refuses what comes later.
	Close() error
}

// A Drop is a reading that was given up, and why.
type Drop struct {
	ID  ID
	Why error
}

func (d Drop) String() string { return fmt.Sprintf("%s: %v", d.ID, d.Why) }

// ErrNoRoom is why a full outbox dropped its oldest reading.
var ErrNoRoom = errors.New("the outbox is full: dropped the oldest")
