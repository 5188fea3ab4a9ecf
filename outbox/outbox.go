// Package outbox keeps readings until a hub has acknowledged them.
package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/settings"
)

var (
	// ErrClosed is returned by Put after Seal or Close.
	ErrClosed = errors.New("the outbox is closed")
	// ErrFull is returned by Put when there is no room for a reading, because the policy is DropNewest,
	// because all pending readings are in flight, or because the reading is larger than the limit.
	ErrFull = errors.New("the outbox is full")
)

// An ID identifies a reading. Each new outbox has a new random epoch, and N counts 1, 2, 3, … within
// it, so a receiver can tell which readings are missing. On the wire it is the message ID.
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

// A Stamp describes the device's clocks at the moment when a reading was taken. The zero Stamp means that the
// device did not date the reading: the program gave the time.
type Stamp struct {
	Uptime            time.Duration // time from the start of the device until it took the reading
	BeforeClockWasSet bool          // the wall clock had not been set yet, so Taken is wrong
}

// The properties that an outbox adds to readings. A program must not set them.
const (
	// MissingProperty names dropped readings with lower numbers, such as "17-20,25".
	MissingProperty = payloads.MissingProperty
	// PreviousProperty is on the first reading of a new epoch, and on the first reading that is sent
	// after another outbox of the device was in use. Its value is the last ID of the previous epoch or
	// of that other outbox.
	PreviousProperty = payloads.PreviousProperty
	// RequeuedProperty is the ID that a reading had before it was taken out of the quarantine and put again.
	RequeuedProperty = payloads.RequeuedProperty

	noticeLimit = payloads.MaxMissing // later readings name the rest
)

// A Policy says what a full outbox does.
type Policy string

// The policies.
const (
	DropOldest Policy = "drop-oldest" // Put drops the oldest readings that are not in flight
	DropNewest Policy = "drop-newest" // Put refuses the new reading
	Block      Policy = "block"       // Put waits for room
)

// Limits bound an outbox. Readings in flight count, and are never dropped to keep a limit.
type Limits struct {
	Readings int           // maximum number of pending readings. Zero means 1,000,000.
	Bytes    int           // maximum total size of the pending readings. Zero means 256 MiB.
	Age      time.Duration // readings that are pending for longer are dropped. Zero means no limit.
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
	l = l.WithDefaults()
	var errs []error
	if l.Readings < 1 {
		errs = append(errs, settings.Wrong("Readings", "is %d: at least 1", l.Readings))
	}
	if l.Bytes < minBytes {
		errs = append(errs, settings.Wrong("Bytes",
			"is %d: at least %d, which is one reading of the largest size", l.Bytes, minBytes))
	}
	errs = append(errs, settings.Duration("Age", l.Age))
	if l.Full != DropOldest && l.Full != DropNewest && l.Full != Block {
		errs = append(errs, settings.Wrong("Full", "is %q: %s, %s or %s", l.Full, DropOldest, DropNewest, Block))
	}
	return errors.Join(errs...)
}

// An Outbox is a queue of readings that knows which of them are in flight: those that Peek has handed
// out, until Remove, Leave or Quarantine is called for them. All methods may be called from any
// goroutine.
type Outbox interface {
	// Put numbers a reading and keeps it. When it returns without an error, the reading is accepted:
	// it is as safe as this outbox makes it. The error is ErrFull, ErrClosed, that of ctx, or wraps
	// DiskFull.
	Put(ctx context.Context, r payloads.Reading, s Stamp) (ID, error)
	// Peek hands out the oldest reading that is not in flight and whose number is above after.
	Peek(after uint64) (Reading, bool)
	// Remove forgets a reading in flight: the hub has acknowledged it.
	Remove(n uint64)
	// Leave ends the flight of a reading without an acknowledgement. Peek hands it out again.
	Leave(n uint64)
	// Quarantine removes a reading in flight from the queue, because the hub ends every session in
	// which it is sent, or because it cannot be sent.
	Quarantine(n uint64, why error)
	// Last returns the newest number, or 0 before the first reading.
	Last() uint64
	// Pending returns how many readings are neither removed nor dropped, and how many bytes they take.
	Pending() (readings, bytes int)
	// RequestSync makes the outbox sync the readings that Peek cannot hand out yet, and reports whether
	// there are any. Changed then signals when to call Peek again. While the disk refuses readings,
	// RequestSync returns false.
	RequestSync() bool
	// Changed returns a channel that has a value when Peek may find a reading that it did not find before.
	Changed() <-chan struct{}
	// Seal makes Put return ErrClosed from now on. Pending readings can still be sent.
	Seal()
	// Close writes what must outlive the process, and ends the outbox.
	Close() error
}

// A Reason is one stable word for why readings were dropped. It is an error.
type Reason string

// The reasons.
const (
	NoRoom      Reason = "full"        // dropped by the policy to keep Limits.Readings and Limits.Bytes
	TooOld      Reason = "too-old"     // dropped to keep Limits.Age
	DiskFull    Reason = "disk"        // the reading could not be written
	Damaged     Reason = "damaged"     // the record of the reading was changed or removed on the disk
	Quarantined Reason = "quarantined" // set aside: the hub ends each session in which it is sent, or it cannot be sent
)

//exhaustive:enforce
var meanings = map[Reason]string{
	NoRoom:      "the outbox is full",
	TooOld:      "the reading was pending for longer than the age limit",
	DiskFull:    "the reading could not be written to the disk",
	Damaged:     "the disk did not give back what was written",
	Quarantined: "the reading was taken out of the queue",
}

func (r Reason) Error() string {
	return cmp.Or(meanings[r], string(r)) // a later version may have written other reasons
}

// A Drop reports which readings were dropped, and why.
type Drop struct {
	Epoch string
	// Numbers are the numbers of the dropped readings. The zero Range means one reading whose number is
	// not recorded on the disk yet; a later reading names that number.
	Numbers Range
	Why     error // wraps a Reason
}

// Reason returns the Reason that Why wraps, or "".
func (d Drop) Reason() Reason {
	r, _ := errors.AsType[Reason](d.Why)
	return r
}

// IDs returns the IDs of the readings, such as "8f3a1c02-17" or "8f3a1c02-17-20", or "" if Numbers is
// the zero Range.
func (d Drop) IDs() string {
	if d.Numbers == (Range{}) {
		return ""
	}
	return d.Epoch + "-" + d.Numbers.String()
}

func (d Drop) String() string { return fmt.Sprintf("%s: %v", d.IDs(), d.Why) }
