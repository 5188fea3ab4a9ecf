// Package outbox keeps readings until a hub has acknowledged them.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/settings"
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

// A Reading is one telemetry message that an outbox has accepted and numbered.
type Reading struct {
	ID ID
	payloads.Reading
	Stamp Stamp
}

// A Stamp says how the device's clock stood when a reading was taken. The zero Stamp means that the device did not date the
// reading: the program gave the time.
type Stamp struct {
	Uptime            time.Duration // from the start of the device until it took the reading
	BeforeClockWasSet bool          // the wall clock had not been set yet, so Taken is wrong
}

// The properties that an outbox gives to readings. They are its own; nobody else may set them.
const (
	// MissingProperty names readings with lower numbers that were given up and will not come: "17-20,25".
	MissingProperty = "failover-missing"
	// PreviousProperty is the last ID of the previous epoch, or of another outbox that was in use meanwhile. The first reading
	// that is sent after the change has it.
	PreviousProperty = "failover-before"
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

// Limits bound an outbox. Readings in flight count, and are never dropped to keep a limit.
type Limits struct {
	Readings int           // how many may be pending. Zero means 1,000,000.
	Bytes    int           // how many bytes the pending readings may take. Zero means 256 MiB.
	Age      time.Duration // readings that have been pending for longer are dropped. Zero means never.
	Full     Policy        // what a full outbox does. "" means DropOldest.
}

// minBytes is a little more than one reading of the largest size takes.
const minBytes = 512 << 10

// WithDefaults returns l with the defaults in the place of zero fields.
func (l Limits) WithDefaults() Limits {
	settings.Default(&l.Readings, 1_000_000)
	settings.Default(&l.Bytes, 256<<20)
	settings.Default(&l.Full, DropOldest)
	return l
}

// Check returns a *settings.FieldError for each field that cannot be used, joined.
func (l Limits) Check() error {
	var errs []error
	l = l.WithDefaults()
	if l.Readings < 1 {
		errs = append(errs, settings.Wrong("Readings", "is %d: at least 1", l.Readings))
	}
	if l.Bytes < minBytes {
		errs = append(errs, settings.Wrong("Bytes", "is %d: at least %d, for one reading of the largest size", l.Bytes, minBytes))
	}
	if l.Age < 0 {
		errs = append(errs, settings.Wrong("Age", "is negative"))
	}
	if l.Full != DropOldest && l.Full != DropNewest && l.Full != Block {
		errs = append(errs, settings.Wrong("Full", "is %q: %s, %s or %s", l.Full, DropOldest, DropNewest, Block))
	}
	return errors.Join(errs...)
}

// An Outbox is a queue with a memory of what is on its way. An entry that Peek has handed out is on its way until
// Remove, Leave or Quarantine says how that ended. All methods may be called from any goroutine.
type Outbox interface {
	// Put numbers a reading and keeps it. When it returns nil the reading is accepted: as safe as this outbox makes it. When
	// ctx ends before that, the reading may be kept all the same.
	Put(ctx context.Context, r payloads.Reading, s Stamp) (ID, error)
	// Peek hands out the oldest waiting entry whose number is above after.
	Peek(after uint64) (Reading, bool)
	// Remove forgets an entry that was handed out: a hub has acknowledged it.
	Remove(n uint64)
	// Leave takes an entry back that was handed out: it is not known to have arrived.
	Leave(n uint64)
	// Quarantine takes an entry out of the queue that no hub will take.
	Quarantine(n uint64, why error)
	// Last is the newest number, 0 before the first.
	Last() uint64
	// Pending returns how many readings are neither removed nor dropped, and how many bytes they take.
	Pending() (readings, bytes int)
	// RequestSync has those readings made safe at once that Peek cannot hand out yet, and reports whether there are any. Changed
	// then signals when to call Peek again. Readings that the disk refuses do not count.
	RequestSync() bool
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
