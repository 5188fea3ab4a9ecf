package outbox

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// A Damage says that a segment does not hold any more what was written. It is an error.
type Damage struct {
	File     string
	Gone     bool   // the file does not exist any more
	Foreign  bool   // the file belongs to another outbox, and is no part of this one
	Readings int    // how many readings could be read
	Missing  string // the numbers of the readings that are missing, such as "17-20,25"
	Unsure   bool   // more readings may be missing, because the beginning of the file is
}

func (d Damage) Error() string {
	missing := "no reading is missing"
	if d.Missing != "" {
		missing = "these readings are missing: " + d.Missing
	}
	if d.Unsure {
		missing += " as far as is known, but the file has lost its beginning"
	}
	if d.Foreign {
		return fmt.Sprintf("outbox: the file %s is of another outbox: its readings will not be sent; "+
			"it will be kept as %s", d.File, d.File+damagedSuffix)
	}
	if d.Gone {
		return fmt.Sprintf("outbox: the file %s is gone, %s", d.File, missing)
	}
	return fmt.Sprintf("outbox: the file %s is damaged: %d readings could be read, %s; it will be kept as %s",
		d.File, d.Readings, missing, d.File+damagedSuffix)
}

const damagedSuffix = ".damaged"

// Torn says that the last bytes of a segment make no record. It is an error.
type Torn struct {
	File  string
	Bytes int64 // how many; 0 if the file is empty
}

func (t Torn) Error() string {
	if t.Bytes == 0 {
		return fmt.Sprintf("outbox: the file %s is empty: the process ended when it had just made it, or "+
			"somebody has emptied it, and nobody knows which readings it held", t.File)
	}
	return fmt.Sprintf("outbox: the last %d bytes of %s make no record: a write was cut off, of readings that had "+
		"not been accepted, or the disk did not keep what it had synced last", t.Bytes, t.File)
}

// inspect looks for damage: bytes that were safe and make no record. Bytes behind them that make none
// are of readings that were not accepted.
func (c *contents) inspect(s scan, older []scan, isNewest bool, known map[uint64]extent, gone ranges) {
	seg := s.segment
	if len(s.holes) == 0 && (s.header != nil || s.end == 0) {
		if s.rest > 0 || isNewest && s.end == 0 {
			c.torn = append(c.torn, Torn{seg.name, s.rest})
		}
		return
	}
	seg.damaged = true
	var missing ranges
	unsure := false
	x, isKnown := known[seg.number]
	holes := s.holes
	if s.header == nil && (len(holes) == 0 || holes[0].after > 0) && len(seg.places) > 0 { // its header is missing
		holes = slices.Insert(slices.Clone(holes), 0, hole{before: seg.first})
	}
	for _, h := range holes {
		switch { // before the first reading
		case h.after > 0:
		case isKnown:
			h.after = x.first - 1
		case s.header != nil:
			h.after = s.header.last
		default:
			h.after = lastOf(older)
			if h.after == 0 {
				h.after, unsure = max(h.before, 1)-1, true
			}
		}
		if h.before == 0 && isKnown { // behind the last
			h.before = x.end
		}
		missing.addAll(c.absent(h.after, h.before, gone))
	}
	c.damaged(Damage{File: seg.name, Readings: seg.live, Unsure: unsure}, missing)
}

// lastOf returns the newest number that segments mention, or 0 if they mention none.
func lastOf(scans []scan) (last uint64) {
	for _, s := range scans {
		if s.header != nil {
			last = max(last, s.header.last)
		}
		if len(s.segment.places) > 0 {
			last = max(last, s.segment.end()-1)
		}
	}
	return last
}

// search looks for segments that the header of the newest one knows and that do not exist. A segment
// that this log has deleted held only readings that are gone.
func (c *contents) search(newest *header, numbers []uint64, gone ranges) {
	if newest == nil {
		return
	}
	for _, number := range slices.Sorted(maps.Keys(newest.others)) {
		if _, there := slices.BinarySearch(numbers, number); there {
			continue
		}
		x := newest.others[number]
		if missing := c.absent(x.first-1, x.end, gone); len(missing) > 0 {
			c.damaged(Damage{File: segmentName(number), Gone: true}, missing)
		}
	}
}

func (c *contents) damaged(d Damage, missing ranges) {
	c.lost.addAll(missing)
	d.Missing, _ = missing.takeText(math.MaxUint64, math.MaxInt)
	c.damages = append(c.damages, d)
}

// absent returns the numbers between two whose readings are neither kept nor gone.
func (c *contents) absent(after, before uint64, gone ranges) ranges {
	if before == 0 || before-1 <= after {
		return nil
	}
	between, known := Range{after + 1, before - 1}, slices.Clone(gone)
	c.each(between, func(_ *segment, n uint64) { known.add(Range{n, n}) })
	return known.without(between)
}
