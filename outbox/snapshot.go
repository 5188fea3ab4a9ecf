package outbox

import (
	"fmt"
	"iter"
	"slices"
)

// A Snapshot describes what a log's directory held when Read was called. A device may be using the
// directory meanwhile, because a Snapshot never writes there.
type Snapshot struct {
	Epoch     string
	Previous  ID     // the last ID of the previous epoch; the zero ID means that it is not known
	Last      uint64 // the newest number
	Readings  int    // number of pending readings
	Bytes     int    // total size of the pending readings
	Dropped   []Drop // the newest 4,096 ranges for each reason, including Quarantined
	Forgotten []Forgotten
	Damages   []Damage

	files    Files
	segments []*segment
}

// Forgotten summarizes the numbers that were dropped for one reason and are older than those in
// Snapshot.Dropped: how many they are, and the highest.
type Forgotten struct {
	Why            Reason
	Count, Highest uint64
}

// Read reads the log in a directory. The error wraps a *statefile.VersionError if another version of
// failover has written the log. A directory that does not exist holds an empty log.
func Read(dir string) (*Snapshot, error) { return readFiles(dir, SystemFiles(dir)) }

func readFiles(dir string, files Files) (*Snapshot, error) {
	c, err := load(files)
	if err != nil {
		return nil, fmt.Errorf("outbox: read %s: %w", dir, err)
	}
	s := &Snapshot{
		Epoch: c.epoch, Previous: c.previous, Last: c.last, Damages: c.damages, files: files, segments: c.segments,
	}
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
	s.Readings, s.Bytes = c.pending()
	return s, nil
}

// Quarantined returns an iterator over the readings in the quarantine, with an error for each file
// that cannot be read.
func (s *Snapshot) Quarantined() iter.Seq2[QuarantinedReading, error] { return quarantined(s.files) }

// Pending returns an iterator over the pending readings, by number. Readings whose segment a running
// device has removed meanwhile are left out. The iterator reads all segments into one buffer, so the
// body of a reading is valid only until the next iteration.
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

// Numbers returns an iterator over the numbers of all pending readings, in order, including readings
// that cannot be read.
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

// IsPending reports whether the reading with the number n is pending.
func (s *Snapshot) IsPending(n uint64) bool {
	return slices.ContainsFunc(s.segments, func(seg *segment) bool { return seg.at(n) != nil })
}
