package outbox

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// A Damage is an error: a segment's file does not hold what the outbox has written to it.
type Damage struct {
	File     string
	Gone     bool   // the file does not exist any more
	Foreign  bool   // the file belongs to another outbox, and is no part of this one
	Readings int    // number of readings that could be read
	Missing  string // numbers of the missing readings, such as "17-20,25"
	Unsure   bool   // more readings may be missing, because the beginning of the file is missing
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

// Torn is an error: the last bytes of a segment's file are not a complete record, or the file is empty.
type Torn struct {
	File  string
	Bytes int64 // number of these bytes; 0 means that the file is empty
}

func (t Torn) Error() string {
	if t.Bytes == 0 {
		return fmt.Sprintf("outbox: the file %s is empty: the process ended just after it had created the file, or "+
			"somebody has emptied the file; which readings it held is not known", t.File)
	}
	return fmt.Sprintf("outbox: the last %d bytes of %s are not a complete record: either a write of readings "+
		"that had not been accepted was interrupted, or the disk has lost what was synced last", t.Bytes, t.File)
}

// inspect looks for damage in a segment: bytes that were safe and are not a record any more. Bytes
// after the safe ones that are not a record belong to readings that were not accepted.
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
		switch { // find the number before a hole at the beginning
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
		if h.before == 0 && isKnown { // the hole is after the last reading
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

// search looks for segments that the header of the newest segment lists and whose files do not exist.
// If the log itself has deleted a segment, all readings of the segment are gone and none is missing.
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

// absent returns the numbers above after and below before whose readings are neither kept nor gone.
func (c *contents) absent(after, before uint64, gone ranges) ranges {
	if before == 0 || before-1 <= after {
		return nil
	}
	between, known := Range{after + 1, before - 1}, slices.Clone(gone)
	c.each(between, func(_ *segment, n uint64) { known.add(Range{n, n}) })
	return known.without(between)
}
