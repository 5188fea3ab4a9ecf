package outbox

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"giantlizard.example/failover/settings"
)

// contents is what the files of a log hold, taken together.
type contents struct {
	epoch    string
	previous ID         // last ID of the previous epoch
	last     uint64     // newest number
	segments []*segment // in order
	number   uint64     // number of the newest segment
	dropped  history    // recorded drops; the readings in lost are not among them
	unnamed  notice     // notice that no acknowledged reading has named
	damages  []Damage
	lost     ranges // numbers of the readings that are missing in damaged segments
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

// A loader reads segments, the newest first. It reads all into one buffer, because a long outage makes many segments.
type loader struct {
	files  Files
	buffer []byte
	places []place
	known  map[uint64]extent // extents of segments, from the headers of newer segments
	newest scan              // scan of the newest segment that is not empty
	named  string            // epoch of the newest header
}

// load reads a log. It writes nothing, so that a device can read its log on a full disk. It returns a
// *statefile.VersionError if another version of failover has written any part of the log, because
// readings that this program skipped or misread would be lost.
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
			continue // a running device has deleted the file meanwhile
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
	for _, r := range gone {
		c.each(r, func(s *segment, n uint64) { s.remove(n) })
		c.last = max(c.last, r.Last)
	}
	c.dropDisordered()
	c.unnamed.missing.addAll(c.lost)
	return c, nil
}

// secure syncs the newest segment, because Peek will hand out its readings and a killed process may not
// have synced them. It ignores errors: readings on a disk that cannot be written must still be sent.
// secure also removes the drafts that a killed process has left.
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
		end = int64(len(b)) // unreadable bytes are damage, and not a write that a power cut interrupted
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
	// Without a header, the content of the file is unknown unless it is all zeros.
	s.damaged = found.header == nil && slices.ContainsFunc(b, func(x byte) bool { return x != 0 })
	if found.header != nil {
		for n, x := range found.header.others {
			if _, ok := l.known[n]; !ok {
				l.known[n] = x
			}
		}
		if l.newest.end > 0 {
			found.header.others = nil // every header lists all segments, so keeping all lists uses much memory
		}
		if l.named == found.epoch { // join uses the notice of the newest header only
			found.header.unnamed.missing = nil
		}
		settings.Default(&l.named, found.epoch)
	}
	if l.newest.end == 0 {
		l.newest = found
	}
	return found, nil
}

// join combines the segments into one log, whose epoch is that of the newest segment. If two segments
// hold the same reading, join uses the newer segment. It returns the numbers that were removed or dropped.
func (c *contents) join(scans []scan) (gone ranges) {
	for _, s := range scans {
		if s.epoch != "" {
			c.epoch = s.epoch
		}
	}
	for _, s := range scans {
		seg := s.segment
		c.segments = append(c.segments, seg)
		if s.epoch != c.epoch && s.epoch != "" { // another outbox's: keep the file, and ignore its content
			seg.damaged, seg.block = true, block[place]{first: c.last + 1}
			c.damages = append(c.damages, Damage{File: seg.name, Foreign: true})
			continue
		}
		if h := s.header; h != nil {
			c.previous, c.last, c.unnamed = h.previous, max(c.last, h.last), h.unnamed
			c.dropped = h.dropped // includes the drops recorded in older segments
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

// supersede removes the readings of s from older segments: after a failure they were written again in s.
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

// dropDisordered drops the readings that have lower numbers than a reading in an older segment. A log never writes
// them, whatever fails, and the search for a reading needs segments in order.
func (c *contents) dropDisordered() {
	var newest uint64
	for _, s := range c.segments {
		var missing ranges
		last := newest
		for n := range s.kept {
			if n < newest {
				missing.add(Range{n, n})
			}
			last = max(last, n)
		}
		if len(missing) > 0 {
			s.cutThrough(newest)
			s.damaged = true
			c.damaged(Damage{File: s.name, Readings: s.live}, missing)
		}
		newest = last
	}
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
