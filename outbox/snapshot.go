package outbox

import (
	"fmt"
	"iter"
	"slices"
)

// A Snapshot is what stands in a log's directory, for whoever looks at it beside a running device. Nothing in it is ever written.
type Snapshot struct {
	Epoch     string
	Previous  ID     // the last ID of the previous epoch; the zero ID means that it is not known
	Last      uint64 // the newest number
	Readings  int    // that wait
	Bytes     int    // that they take
	Dropped   []Drop // newest 4,096 ranges of each reason; those quarantined too
	Forgotten []Forgotten
	Damages   []Damage

	files    Files
	segments []*segment
}

// Forgotten is numbers that were given up before those in Dropped: how many, and up to which.
type Forgotten struct {
	Why            Reason
	Count, Highest uint64
}

// Read reads the log in a directory.
func Read(dir string) (*Snapshot, error) { return readFiles(dir, SystemFiles(dir)) }

func readFiles(dir string, files Files) (*Snapshot, error) {
	c, err := load(files)
	if err != nil {
		return nil, fmt.Errorf("outbox: read %s: %w", dir, err)
	}
	s := &Snapshot{Epoch: c.epoch, Previous: c.previous, Last: c.last, Damages: c.damages, files: files, segments: c.segments}
	for _, why := range c.dropped.known.reasons() {
		for _, r := range c.dropped.known[why] {
			s.Dropped = append(s.Dropped, Drop{c.epoch, r, why})
		}
		if t := c.dropped.before[why]; t.count > 0 {
			s.Forgotten = append(s.Forgotten, Forgotten{why, t.count, t.highest})
		}
	}
	for _, r := range c.lost {
		s.Dropped = append(s.Dropped, Drop{c.epoch, r, Damaged})
	}
	for _, seg := range c.segments {
		s.Readings += seg.live
		for _, p := range seg.kept {
			s.Bytes += int(p.size)
		}
	}
	return s, nil
}

// Quarantined are the readings in the quarantine, one after another, and an error for each file of it
// that cannot be read.
func (s *Snapshot) Quarantined() iter.Seq2[QuarantinedReading, error] { return quarantined(s.files) }

// Waiting are the readings that wait, by number. A running device may deliver them meanwhile; then
// they are left out. Each segment is read at once, into one buffer: a reading is valid until the next.
func (s *Snapshot) Pending() iter.Seq[Reading] {
	return func(yield func(Reading) bool) {
		var buffer []byte
		for _, seg := range s.segments {
			if seg.live == 0 {
				continue
			}
			b, _, _, err := readFile(s.files, seg.name, buffer)
			if err != nil {
				continue
			}
			buffer = b[:0]
			for n, p := range seg.kept {
				if int(p.offset) > len(b) {
					continue
				}
				r, err := readingIn(b[p.offset:], seg.name, p, ID{s.Epoch, n})
				if err == nil && !yield(r) {
					return
				}
			}
		}
	}
}

// Numbers are the numbers that wait, in order, whether their readings can be read or not.
func (s *Snapshot) Numbers() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, seg := range s.segments {
			for n := range seg.kept {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// Waits tells whether a number waits.
func (s *Snapshot) IsPending(n uint64) bool {
	return slices.ContainsFunc(s.segments, func(seg *segment) bool { return seg.at(n) != nil })
}
