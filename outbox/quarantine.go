package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/statefile"
)

// quarantining is a reading on its way from the queue to the quarantine.
type quarantining struct {
	segment *segment
	n       uint64
	place   place
	why     error
	reads   readFailure
}

// Each quarantined reading has a file of its own: such readings are few, and each may be requeued or deleted.
const quarantineSuffix = ".quarantined"

// A QuarantinedReading is a reading in the quarantine: the hub ended every session in which it was sent.
type QuarantinedReading struct {
	Reading
	Since time.Time
	Why   string
}

// isolate writes readings to the quarantine in order, and returns how many it has done before the first error. A
// reading that cannot be read any more is skipped, and counts as done.
func (c *committer) isolate(all []quarantining) (int, error) {
	for i := range all {
		q, id := &all[i], ID{c.epoch, all[i].n}
		r, err := c.handles.read(q.segment, q.place, id)
		if err != nil && q.reads.isLast(err) {
			continue // the reading is lost, so there is nothing to write
		}
		if err == nil {
			err = c.writeQuarantined(QuarantinedReading{r, c.options.Now(), q.why.Error()})
		}
		if err != nil {
			return i, fmt.Errorf("quarantine reading %s: %w", id, err)
		}
	}
	return len(all), nil
}

func (c *committer) writeQuarantined(q QuarantinedReading) error {
	files, name := c.handles.files, q.ID.String()+quarantineSuffix
	_ = files.Remove(name) // an earlier attempt may have left the file
	f, err := files.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(appendFrame(nil, name, 0, func(b []byte) []byte {
		return appendReading(appendText(b, q.Why), q.Reading, q.Since)
	}))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return files.Sync()
}

// leaveQueueLocked removes from the queue a reading that the quarantine holds. The commit that wrote the
// reading there also records its drop.
func (c *committer) leaveQueueLocked(q quarantining) {
	delete(c.inFlight, q.n)
	c.forgetLocked(q.n)
	c.unnamed.missing.add(Range{q.n, q.n})
	c.announce(q.n, quarantineError(q.why))
	c.room.Broadcast()
}

// quarantined returns an iterator over the readings in the quarantine, and an error for each file that
// cannot be read.
func quarantined(files Files) iter.Seq2[QuarantinedReading, error] {
	return func(yield func(QuarantinedReading, error) bool) {
		names, err := files.List()
		if err != nil {
			yield(QuarantinedReading{}, fmt.Errorf("outbox: read the quarantine: %w", err))
			return
		}
		slices.Sort(names)
		for _, name := range names {
			if !strings.HasSuffix(name, quarantineSuffix) {
				continue
			}
			q, err := readQuarantined(files, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // the reading was requeued meanwhile
			}
			if err != nil {
				err = fmt.Errorf("outbox: the quarantined reading in %s cannot be read: %w", name, err)
			}
			if !yield(q, err) {
				return
			}
		}
	}
}

func readQuarantined(files Files, name string) (q QuarantinedReading, err error) {
	b, _, whole, err := readFile(files, name, nil)
	if err != nil {
		return q, err
	}
	if !whole {
		return q, errRotten
	}
	payload, _, size := frameAt(b, name)
	if payload == nil || size != len(b) {
		return q, errRotten
	}
	p := &parser{b: bytes.Clone(payload)}
	q.Why = string(p.text())
	if p.err == nil && len(p.b) > 0 && p.b[0] == kindReading {
		if q.Reading, q.Since, err = parseReading(p.b[1:]); err == nil {
			return q, nil
		}
	}
	return q, &statefile.VersionError{Path: name, Detail: "its checksum is right, but this version cannot parse it"}
}

// Requeue puts a quarantined reading back into the queue, with a new number and with its old ID as
// RequeuedProperty. If Requeue fails half-way, the reading is in the queue and in the quarantine.
func (l *Log) Requeue(ctx context.Context, id ID) (ID, error) {
	files, name := l.handles.current(), id.String()+quarantineSuffix
	q, err := readQuarantined(files, name)
	if err != nil {
		return ID{}, fmt.Errorf("outbox: requeue %s: %w", id, err)
	}
	r := q.Reading.Reading
	r.Properties = maps.Clone(r.Properties)
	settings.Default(&r.Properties, map[string]string{})
	delete(r.Properties, MissingProperty) // the outbox sets this property and the next one itself
	delete(r.Properties, PreviousProperty)
	r.Properties[RequeuedProperty] = id.String()
	fresh, err := l.Put(ctx, r, q.Stamp)
	if err == nil {
		err = files.Remove(name)
	}
	if err != nil {
		return ID{}, fmt.Errorf("outbox: requeue %s: %w", id, err)
	}
	return fresh, nil
}
