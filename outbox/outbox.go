// Package outbox keeps readings until a hub has acknowledged them.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"giantlizard.example/failover/payloads"
)

var (
	// ErrClosed is what Put returns after Seal or Close.
	ErrClosed = errors.New("the outbox is closed")
	// ErrFull is what Put returns when there is no room: by the policy DropNewest, or because all that waits is on its way.
	ErrFull = errors.New("the outbox is full")
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

// The properties that an outbox gives to readings. They are its own; nobody else may set them.
const (
	// MissingProperty names readings with lower numbers that were given up and will not come: "17-20,25".
	MissingProperty = "failover-missing"
	// BeforeProperty stands on the first reading of an epoch that is sent, and on the first after a start with another outbox: the
	// last ID of the epoch, or of the outbox, before.
	BeforeProperty = "failover-before"
	// RequeuedProperty is the ID under which a reading was quarantined that was put back.
	RequeuedProperty = "failover-requeued"

	noticeLimit = 250 // bytes of a MissingProperty; what does not fit, the readings after it name
)

// A Policy says what a full outbox does.
type Policy string

// The policies.
const (
	DropOldest Policy = "drop-oldest" // gives up the oldest readings that are not on their way
	DropNewest Policy = "drop-newest" // takes no more
	Block      Policy = "block"       // lets Put wait for room
)

// Limits bound an outbox. Readings that are on their way to a hub are never dropped.
type Limits struct {
	Readings int           // 100,000 when 0
	Bytes    int           // that they take; 64 MiB when 0
	Age      time.Duration // readings that wait for longer are given up; 0: never
	Full     Policy        // DropOldest when ""
}

func (l Limits) withDefaults() Limits {
	if l.Readings <= 0 {
		l.Readings = 100_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
	if l.Full == "" {
		l.Full = DropOldest
	}
	return l
}

// An Outbox is a queue with a memory of what is on its way. An entry that Peek has handed out is on its way until
// Remove, Leave or Quarantine says how that ended. All methods may be called from any goroutine.
type Outbox interface {
	// Put numbers a reading and keeps it. When it returns nil the reading is accepted: as safe as this outbox makes it. When
	// ctx ends before that, the reading may be kept all the same.
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
	// Waiting is how many readings are neither removed nor given up, and their bytes.
	Waiting() (readings, bytes int)
	// Coming tells whether there are readings that Peek cannot hand out yet, and has them made safe at once. Changed then
	// says when to ask again. Those that a disk does not take are not coming.
	Coming() bool
	// Changed has a value when something may have been put or left since it was last read.
	Changed() <-chan struct{}
	// Seal refuses what comes later; what waits can still be sent.
	Seal()
	// Close writes down what is to outlive the process and ends the outbox.
	Close() error
}

// A Reason says in one stable word why readings were given up. It is an error.
type Reason string

// The reasons.
const (
	NoRoom      Reason = "full"        // by the policy, to keep the limits
	TooOld      Reason = "too-old"     // by the age limit
	DiskFull    Reason = "disk"        // it could not be written
	Damaged     Reason = "damaged"     // what the disk gave back was not what was written
	Quarantined Reason = "quarantined" // no hub would take it
)

var meanings = map[Reason]string{
	NoRoom:      "the outbox is full",
	TooOld:      "it has waited for longer than the age limit",
	DiskFull:    "it could not be written to the disk",
	Damaged:     "the disk did not give back what was written",
	Quarantined: "no hub would take it",
}

func (r Reason) Error() string {
	if meaning, ok := meanings[r]; ok {
		return meaning
	}
	return string(r) // of a later version
}

// A Drop is readings that were given up, and why.
type Drop struct {
	Epoch   string
	Numbers Range // zero: of one reading, whose number the disk has not taken; a later reading names it
	Why     error // wraps a Reason
}

// Reason is the one word for why.
func (d Drop) Reason() Reason {
	var r Reason
	errors.As(d.Why, &r)
	return r
}

// IDs are the IDs of the readings, as "8f3a1c02-17" or "8f3a1c02-17-20", or "".
func (d Drop) IDs() string {
	if d.Numbers == (Range{}) {
		return ""
	}
	return d.Epoch + "-" + d.Numbers.String()
}

func (d Drop) String() string { return fmt.Sprintf("%s: %v", d.IDs(), d.Why) }
