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

	"giantlizard.example/failover/statefile"
)

// A condemned reading is on its way from the queue into the quarantine.
type condemned struct {
	s     *segment
	n     uint64
	place place
	why   error
	tries int // to read it
}

// Each quarantined reading has a file of its own: they are few, and each may be put back or deleted.
const quarantineSuffix = ".quarantined"

// A QuarantinedReading is one that no hub would take.
type QuarantinedReading struct {
	Reading
	Since time.Time
	Why   string
}

// isolate keeps readings in the quarantine, and returns how many are safe there.
func (l *Log) isolate(all []condemned) (int, error) {
	for i := range all {
		q, id := &all[i], ID{l.epoch, all[i].n}
		e, err := l.readFrom(q.s, q.place, id)
		if err != nil && !notNow(err) {
			q.tries++
		}
		if gone(err) || q.tries >= patience {
			continue // nothing is left to be kept
		}
		if err == nil {
			err = l.keep(QuarantinedReading{e, l.Now(), q.why.Error()})
		}
		if err != nil {
			return i, fmt.Errorf("quarantine reading %s: %w", id, err)
		}
	}
	return len(all), nil
}

func (l *Log) keep(q QuarantinedReading) error {
	name := q.ID.String() + quarantineSuffix
	_ = l.Files.Remove(name) // what a try before this has left
	f, err := l.Files.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(appendFrame(nil, name, 0, func(b []byte) []byte {
		return appendReading(appendText(b, q.Why), q.Reading, q.Since)
	}))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return l.Files.Sync()
}

// leaveQueue is called with the lock held.
func (l *Log) leaveQueue(q condemned) {
	delete(l.away, q.n)
	l.bytes -= q.s.forget(q.n)
	l.readings--
	r := Range{q.n, q.n}
	l.untold.missing.add(r)
	l.Dropped(Drop{l.epoch, r, fmt.Errorf("%w: %w", Quarantined, q.why)})
	l.room.Broadcast()
}

// quarantined are the readings in the quarantine, one after another, and an error for each file that cannot be read.
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
				continue // it was put back meanwhile
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
	r := &reader{b: bytes.Clone(payload)}
	q.Why = string(r.text())
	if r.err == nil && len(r.b) > 0 && r.b[0] == kindReading {
		if q.Reading, q.Since, err = readEntry(r.b[1:]); err == nil {
			return q, nil
		}
	}
	return q, &statefile.VersionError{Path: name, Detail: "it is whole, and this version does not know what it says"}
}

// Requeue puts a quarantined reading back into the queue, under a new number and with its old ID as a property. When it fails
// half-way, the reading is in both.
func (l *Log) Requeue(ctx context.Context, id ID) (ID, error) {
	name := id.String() + quarantineSuffix
	l.reads.Lock()
	files := l.Files
	l.reads.Unlock()
	q, err := readQuarantined(files, name)
	if err != nil {
		return ID{}, fmt.Errorf("outbox: requeue %s: %w", id, err)
	}
	r := q.Reading.Reading
	r.Properties = maps.Clone(r.Properties)
	if r.Properties == nil {
		r.Properties = map[string]string{}
	}
	delete(r.Properties, MissingProperty) // it named them when it was first put
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
