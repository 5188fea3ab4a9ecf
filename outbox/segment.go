package outbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"
)

// A segment is one file of the log, and what of it has not been settled.
type segment struct {
	name    string
	number  uint64 // counts up from segment to segment
	file    File   // nil: not open; under Log.reads
	writing atomic.Bool
	info    fs.FileInfo // identifies the file
	header  header
	size    int64 // bytes that count
	safe    int64 // bytes that were synced
	first   uint64
	entries []place // of reading first+i
	live    int     // readings that are neither settled nor given up
	low     int     // no entry before it waits
	damaged bool
	bare    bool // it has a header and nothing else
	short   bool // not all of it could be restored; see dropMissing
}

// A place is where a reading stands in its segment. It takes little memory, for a long outage makes many.
type place struct {
	offset, size uint32 // of its frame; size 0: gone
	put          uint32 // seconds since Open, or, of an earlier run, Unix time; then zero means not known
}

const suffix = ".log"

func segmentName(number uint64) string { return fmt.Sprintf("%010d%s", number, suffix) }

// numberOf is the number in a segment's name; ok is false for any other file.
func numberOf(name string) (n uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if _, err := fmt.Sscanf(digits, "%d", &n); err != nil || !ok || segmentName(n) != name {
		return 0, false
	}
	return n, true
}

// add takes a reading in. Numbers that are left out are gone.
func (s *segment) add(n uint64, p place) {
	if len(s.entries) == 0 {
		s.first = n
	}
	for uint64(len(s.entries)) < n-s.first {
		s.entries = append(s.entries, place{})
	}
	s.entries = append(s.entries, p)
	s.live++
}

// end is the number behind the newest reading's.
func (s *segment) end() uint64 { return s.first + uint64(len(s.entries)) }

// at is a reading's place, or nil when it is not here, or gone.
func (s *segment) at(n uint64) *place {
	if n < s.first || n >= s.end() || s.entries[n-s.first].size == 0 {
		return nil
	}
	return &s.entries[n-s.first]
}

// forget takes a reading out, and returns how many bytes it took.
func (s *segment) forget(n uint64) int {
	p := s.at(n)
	size := int(p.size)
	*p = place{}
	s.live--
	return size
}

// cut takes out a reading and all behind it: they were in doubt, and were written again elsewhere. So they are not gone.
func (s *segment) cut(n uint64) {
	if s.at(n) == nil {
		return
	}
	for _, p := range s.entries[n-s.first:] {
		if p.size > 0 {
			s.live--
		}
	}
	s.entries = s.entries[:n-s.first]
}

// gone are the numbers that were here and are not any more.
func (s *segment) gone() (r ranges) {
	for i := 0; i < len(s.entries); i++ {
		from := i
		for i < len(s.entries) && s.entries[i].size == 0 {
			i++
		}
		if i > from {
			r = append(r, Range{s.first + uint64(from), s.first + uint64(i) - 1})
		}
	}
	return r
}

var errRotten = errors.New("the record has changed since it was written")

// read reads a reading, and checks that it is the one.
func (s *segment) read(p place, id ID) (Reading, error) {
	b := make([]byte, p.size)
	if n, err := s.file.ReadAt(b, int64(p.offset)); err != nil && (n < len(b) || !errors.Is(err, io.EOF)) {
		return Reading{}, err
	}
	return entryIn(b, s.name, p, id)
}

// entryIn is the reading whose frame begins b, if it is the one that stands at a place. Its body stays in b.
func entryIn(b []byte, name string, p place, id ID) (Reading, error) {
	payload, _, size := frameAt(b, name)
	if payload == nil || size != int(p.size) || payload[0] != kindReading {
		return Reading{}, errRotten
	}
	e, _, err := readEntry(payload[1:])
	if err != nil || e.ID != id {
		return Reading{}, errRotten
	}
	return e, nil
}

// A scan is what stands in a segment's file, but for its readings, which the segment itself has taken in.
type scan struct {
	header  *header
	epoch   string
	settled ranges
	dropped drops
	told    notice
	end     int64 // of the last whole record
	rest    int64 // bytes behind it that were being written, as far as anyone knows
	records int
	holes   []hole
	other   error // *statefile.VersionError: another version of failover has written the file
}

// A hole is bytes that were safe and make no record. It lies between two readings; 0: there is none on that side.
type hole struct{ after, before uint64 }

// scan reads what can be read. end is how many bytes count, as a later segment knows; negative: not known. Then those are safe
// that a record behind them says were; of the rest, which was being written when the power went, as much counts as is in one
// piece.
func (s *segment) scan(b []byte, end int64) (found scan) {
	safe := end
	if end >= 0 {
		b = b[:min(end, int64(len(b)))]
	} else {
		safe = safeBytes(s.name, b)
	}
	whole := true
	for pos := 0; pos < len(b); {
		payload, _, size := frameAt(b[pos:], s.name)
		if payload != nil {
			if found.other = checkVersion(s.name, payload); found.other != nil {
				return found
			}
		}
		if payload == nil || !found.take(s, payload, uint32(pos), uint32(size)) {
			if int64(pos) >= safe {
				break
			}
			if whole {
				found.hole(s)
			}
			whole = false
			pos++
			continue
		}
		whole = true
		pos += size
		found.end = int64(pos)
		found.records++
	}
	if whole && found.end < end {
		found.hole(s)
	}
	return found
}

// hole notes one behind the last reading so far.
func (f *scan) hole(s *segment) {
	h := hole{}
	if len(s.entries) > 0 {
		h.after = s.end() - 1
	}
	if last := len(f.holes) - 1; last < 0 || f.holes[last] != h {
		f.holes = append(f.holes, h)
	}
}

// safeBytes is how many bytes the records themselves say were safe.
func safeBytes(name string, b []byte) (safe int64) {
	for pos := 0; pos < len(b); {
		payload, before, size := frameAt(b[pos:], name)
		if payload == nil {
			size = 1
		} else if before <= int64(pos) {
			safe = max(safe, before)
		}
		pos += size
	}
	return safe
}

// take takes one record in, or says that it is none.
func (f *scan) take(s *segment, payload []byte, offset, size uint32) bool {
	r := &reader{b: payload[1:]}
	switch payload[0] {
	case kindHeader:
		h, err := readHeader(payload[1:])
		if err != nil || f.header != nil {
			return false
		}
		f.header, f.epoch = &h, h.epoch
	case kindReading: // the rest of it is read, and checked again, when it is handed out
		epoch, n, put := r.text(), r.number(), r.number()
		if r.err != nil || f.epoch != "" && string(epoch) != f.epoch || !s.follows(n) {
			return false
		}
		if f.epoch == "" {
			f.epoch = string(epoch)
		}
		s.add(n, place{offset, size, uint32(min(put, 1<<32-1))})
		if last := len(f.holes) - 1; last >= 0 && f.holes[last].before == 0 {
			f.holes[last].before = n
		}
	case kindSettled:
		settled := r.ranges()
		if r.err != nil {
			return false
		}
		f.settled.addAll(settled)
	case kindDropped:
		why := Reason(r.text())
		dropped := r.ranges()
		if r.err != nil {
			return false
		}
		f.dropped.add(why, dropped...)
	case kindTold:
		told := r.notice()
		if r.err != nil {
			return false
		}
		f.told.add(told)
	default:
		return false
	}
	return true
}

// How far a number may lie behind the one before it in the same segment, when it is written and, with damage between, when it
// is read.
const (
	longestGap  = 4096
	longestHole = 1 << 16
)

// follows tells whether a reading's number may come next.
func (s *segment) follows(n uint64) bool {
	return n > 0 && (len(s.entries) == 0 || n >= s.end() && n-s.end() < longestHole)
}
