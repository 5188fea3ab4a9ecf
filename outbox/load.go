package outbox

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// contents are what the files of a log say, taken together.
type contents struct {
	epoch    string
	previous ID // the last of the previous epoch
	last     uint64
	segments []*segment // in order
	number   uint64     // of the newest segment
	dropped  history    // without what the damages have lost
	unnamed  notice     // what no acknowledged reading has named
	damages  []Damage
	lost     ranges // by the damages
	torn     []Torn
}

// pending returns how many readings are pending, and how many bytes they take.
func (c *contents) pending() (readings, bytes int) {
	for _, s := range c.segments {
		readings += s.live
		for _, p := range s.kept {
			bytes += int(p.size)
		}
	}
	return readings, bytes
}

// A loader reads segments, the newest first. A long outage has many, so it reads them into one buffer.
type loader struct {
	files  Files
	buffer []byte
	places []place
	known  map[uint64]extent // what newer segments say of older ones
	newest scan              // of the newest that holds anything
}

// load reads a log without writing anything, for a full disk must not keep a device from its readings.
// It returns a *statefile.VersionError if another version of failover has written any part of the log:
// what this program left out or misread would be lost.
func load(files Files) (*contents, error) {
	names, err := files.List()
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		if n, ok := numberOf(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	c, l := &contents{}, &loader{files: files, known: map[uint64]extent{}}
	var scans []scan
	for _, n := range slices.Backward(numbers) {
		s, err := l.load(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a running device has deleted it meanwhile
		}
		if err != nil {
			return nil, err
		}
		scans, c.number = append(scans, s), max(c.number, n)
	}
	slices.Reverse(scans)
	gone := c.join(scans)
	for i := range scans {
		c.inspect(scans[i], scans[:i], i == len(scans)-1, l.known, gone)
	}
	c.search(l.newest.header, numbers, gone)
	c.unnamed.missing.addAll(c.lost)
	for _, r := range gone {
		c.each(r, func(s *segment, n uint64) { s.remove(n) })
		c.last = max(c.last, r.Last)
	}
	return c, nil
}

// secure syncs what a process may not have synced before it was killed, for it will be handed out. A
// failure is ignored: from a disk that cannot be written, the readings must be sent all the same.
// secure also removes the drafts that such a process has left.
func (c *contents) secure(files Files) {
	names, _ := files.List()
	for _, name := range names {
		if strings.HasSuffix(name, draftSuffix) {
			_ = files.Remove(name)
		}
	}
	if len(c.segments) == 0 {
		return
	}
	if f, err := files.Open(c.segments[len(c.segments)-1].name); err == nil {
		_ = f.Sync()
		f.Close()
	}
	_ = files.Sync()
}

func (l *loader) load(number uint64) (found scan, err error) {
	s := &segment{name: segmentName(number), number: number, block: block[place]{places: l.places[:0]}}
	b, info, whole, err := readFile(l.files, s.name, l.buffer)
	if err != nil {
		return scan{}, err
	}
	l.buffer, s.info = b[:0], info
	end := int64(-1)
	if x, ok := l.known[number]; ok {
		end = x.size
	} else if !whole {
		end = int64(len(b)) // what the disk does not give back is not what a power cut has torn
	}
	found = s.scan(b, end)
	if found.other != nil {
		return scan{}, found.other
	}
	if end < 0 {
		found.rest = int64(len(b)) - found.end
	}
	l.places, s.places = s.places, slices.Clone(s.places)
	s.size, s.isBare = found.end, found.records == 1 && found.header != nil
	s.damaged = found.header == nil && slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) // whatever it was
	if found.header != nil {
		for n, x := range found.header.others {
			if _, ok := l.known[n]; !ok {
				l.known[n] = x
			}
		}
		if l.newest.end > 0 {
			found.header.others = nil // each header has them all, so of many segments they take much memory
		}
	}
	if l.newest.end == 0 {
		l.newest = found
	}
	return found, nil
}

// join makes one log of the segments. The newest epoch counts. If a reading stands in two segments,
// the newer one counts. join returns the numbers that were removed or dropped.
func (c *contents) join(scans []scan) (gone ranges) {
	for _, s := range scans {
		if s.epoch != "" {
			c.epoch = s.epoch
		}
	}
	for _, s := range scans {
		seg := s.segment
		c.segments = append(c.segments, seg)
		if s.epoch != c.epoch && s.epoch != "" { // of another outbox; the file is kept, and no part of this one
			seg.damaged, seg.block = true, block[place]{first: c.last + 1}
			c.damages = append(c.damages, Damage{File: seg.name, Foreign: true})
			continue
		}
		if h := s.header; h != nil {
			c.previous, c.last, c.unnamed = h.previous, max(c.last, h.last), h.unnamed
			c.dropped = h.dropped // which has what the older segments say
			for _, r := range h.dropped.known {
				gone.addAll(r)
			}
		}
		if len(seg.places) == 0 {
			seg.first = c.last + 1
		}
		gone.addAll(s.outcomes.removed)
		c.dropped.add(s.outcomes.dropped)
		for _, r := range s.outcomes.dropped {
			gone.addAll(r)
			c.unnamed.missing.addAll(r)
		}
		c.unnamed.remove(s.outcomes.named) // a drop is recorded before a reading names it
		c.supersede(seg)
	}
	return gone
}

// supersede takes the readings of a segment out of the older segments: they were written again after a failure.
func (c *contents) supersede(s *segment) {
	for n := s.first; n < s.end() && n <= c.last; n++ {
		if s.at(n) == nil {
			continue
		}
		for _, older := range c.segments[:len(c.segments)-1] {
			older.cut(n)
		}
	}
	c.last = max(c.last, s.end()-1)
}

// each calls how for each kept reading whose number is in r.
func (c *contents) each(r Range, how func(s *segment, n uint64)) {
	for _, s := range c.segments {
		for n := max(r.First, s.first); n <= r.Last && n < s.end(); n++ {
			if s.at(n) != nil {
				how(s, n)
			}
		}
	}
}
