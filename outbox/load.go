package outbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"
	"syscall"
)

// A Damage is a segment that does not hold any more what was written.
type Damage struct {
	File     string
	Gone     bool   // the whole file is
	Foreign  bool   // it is another outbox's, and no part of this one
	Readings int    // that could be read
	Missing  string // numbers that cannot, such as "17-20,25"; "" when none is
	Unsure   bool   // more may be missing: what the file began with is not known
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
		return fmt.Sprintf("outbox: the file %s is of another outbox: its readings will not be sent; it will be kept as %s",
			d.File, d.File+damagedSuffix)
	}
	if d.Gone {
		return fmt.Sprintf("outbox: the file %s is gone, %s", d.File, missing)
	}
	return fmt.Sprintf("outbox: the file %s is damaged: %d readings could be read, %s; it will be kept as %s",
		d.File, d.Readings, missing, d.File+damagedSuffix)
}

const damagedSuffix = ".damaged"

// A Torn file is a segment whose last bytes make no record.
type Torn struct {
	File  string
	Bytes int64
}

func (t Torn) Error() string {
	if t.Bytes == 0 {
		return fmt.Sprintf("outbox: the file %s is empty: the process ended when it had just made it, or somebody has emptied it, and "+
			"nobody knows which readings it held", t.File)
	}
	return fmt.Sprintf("outbox: the last %d bytes of %s make no record: a write was cut off, of readings that had not been accepted, or "+
		"the disk did not keep what it had synced last", t.Bytes, t.File)
}

// contents are what the files of a log say, taken together.
type contents struct {
	epoch    string
	before   ID
	last     uint64
	segments []*segment // in order
	number   uint64     // of the newest segment
	dropped  history    // without what the damages have lost
	untold   notice
	damages  []Damage
	lost     ranges // by the damages
	torn     []Torn
}

// A loader reads segments, the newest first. A long outage has many, so it reads them into one buffer.
type loader struct {
	files   Files
	buffer  []byte
	entries []place
	known   map[uint64]extent // what newer segments say of older ones
	newest  bool              // the newest that holds anything has been read
}

// load reads a log without writing anything, for a full disk must not keep a device from its readings.
// One that another version of failover has written, be it in part, is an error: what this program left
// out or misread would be lost.
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
		s, found, err := l.load(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a running device has deleted it meanwhile
		}
		if err != nil {
			return nil, err
		}
		c.segments, scans, c.number = append(c.segments, s), append(scans, found), max(c.number, n)
	}
	slices.Reverse(c.segments)
	slices.Reverse(scans)
	settled := c.join(scans)
	for i := range scans {
		c.inspect(i, scans, l.known, settled)
	}
	c.search(scans, numbers, settled)
	c.untold.missing.addAll(c.lost)
	for _, r := range settled {
		c.forget(r)
		c.last = max(c.last, r.Last)
	}
	return c, nil
}

// secure syncs what a process may not have synced that was killed, for it will be handed out. Where that fails, as on a disk that
// cannot be written, the readings must go out all the same.
// It also removes what such a process was copying.
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

func (l *loader) load(number uint64) (*segment, scan, error) {
	s := &segment{name: segmentName(number), number: number, entries: l.entries[:0]}
	b, info, whole, err := readFile(l.files, s.name, l.buffer)
	if err != nil {
		return nil, scan{}, err
	}
	l.buffer, s.info = b[:0], info
	end := int64(-1)
	if x, ok := l.known[number]; ok {
		end = x.size
	} else if !whole {
		end = int64(len(b)) // what the disk does not give back is not what a power cut has torn
	}
	found := s.scan(b, end)
	if found.other != nil {
		return nil, scan{}, found.other
	}
	if end < 0 {
		found.rest = int64(len(b)) - found.end
	}
	l.entries, s.entries = s.entries, slices.Clone(s.entries)
	s.size, s.bare = found.end, found.records == 1 && found.header != nil
	s.damaged = found.header == nil && slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) // whatever it was
	if found.header != nil {
		for n, x := range found.header.others {
			if _, ok := l.known[n]; !ok {
				l.known[n] = x
			}
		}
		if l.newest {
			found.header.others = nil // each header has them all, so of many segments they take much memory
		}
	}
	l.newest = l.newest || found.end > 0
	return s, found, nil
}

const (
	page      = 4096     // what a disk gives back or does not
	fileLimit = 64 << 20 // far more than any file of a log takes
)

// readFile reads a file into a buffer, or a larger one, but no more than a file of a log can have. Pages that the disk does not
// give back are zeros, and the file is not whole.
func readFile(files Files, name string, buffer []byte) (b []byte, info fs.FileInfo, whole bool, err error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, nil, false, err
	}
	defer f.Close()
	info, err = f.Info()
	if err != nil {
		return nil, nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	b, whole, err = readPages(f, min(info.Size(), fileLimit), buffer)
	if err != nil {
		err = fmt.Errorf("read %s: %w", name, err)
	}
	return b, info, whole, err
}

// readPages reads the first size bytes of a file, or fewer if it has no more.
func readPages(f File, size int64, buffer []byte) (b []byte, whole bool, err error) {
	b = slices.Grow(buffer[:0], int(size))[:size]
	n, err := f.ReadAt(b, 0)
	if err == nil || errors.Is(err, io.EOF) {
		return b[:n], true, nil
	}
	if !errors.Is(err, syscall.EIO) {
		return nil, false, err
	}
	for at := 0; at < len(b); at += page {
		p := b[at:min(at+page, len(b))]
		if n, err := f.ReadAt(p, int64(at)); err != nil && !errors.Is(err, io.EOF) {
			clear(p)
		} else {
			clear(p[n:])
		}
	}
	return b, false, nil
}

// join makes one log of the segments: the newest epoch counts, and so does, of a reading that stands twice, the newer one. It
// returns what is settled.
func (c *contents) join(scans []scan) (settled ranges) {
	for _, s := range scans {
		if s.epoch != "" {
			c.epoch = s.epoch
		}
	}
	for i := range scans {
		s, seg := &scans[i], c.segments[i]
		if s.epoch != c.epoch && s.epoch != "" { // of another outbox; it is kept, and no part of this one
			seg.damaged, seg.entries, seg.live, seg.first = true, nil, 0, c.last+1
			c.damages = append(c.damages, Damage{File: seg.name, Foreign: true})
			continue
		}
		if h := s.header; h != nil {
			c.before, c.last, c.untold = h.before, max(c.last, h.last), h.untold
			c.dropped = h.dropped // which has what the older segments say
			for _, r := range h.dropped.known {
				settled.addAll(r)
			}
		}
		if len(seg.entries) == 0 {
			seg.first = c.last + 1
		}
		settled.addAll(s.settled)
		c.dropped.add(s.dropped)
		for _, r := range s.dropped {
			settled.addAll(r)
			c.untold.missing.addAll(r)
		}
		c.untold.remove(s.told) // a notice arrives after the drop that it tells of
		c.supersede(i)
	}
	return settled
}

// supersede takes out of the older segments what a segment has too: it was written again after a failure.
func (c *contents) supersede(i int) {
	s := c.segments[i]
	for n := s.first; n < s.end() && n <= c.last; n++ {
		if s.at(n) == nil {
			continue
		}
		for _, older := range c.segments[:i] {
			older.cut(n)
		}
	}
	c.last = max(c.last, s.end()-1)
}

func (c *contents) forget(r Range) {
	for _, s := range c.segments {
		for n := max(r.First, s.first); n <= r.Last && n < s.end(); n++ {
			if s.at(n) != nil {
				s.forget(n)
			}
		}
	}
}

// inspect looks for damage: bytes that were safe and make no record. What is torn behind them was never accepted.
func (c *contents) inspect(i int, scans []scan, known map[uint64]extent, settled ranges) {
	s, seg := scans[i], c.segments[i]
	if len(s.holes) == 0 && (s.header != nil || s.end == 0) {
		if s.rest > 0 || i == len(scans)-1 && s.end == 0 {
			c.torn = append(c.torn, Torn{seg.name, s.rest})
		}
		return
	}
	seg.damaged = true
	var missing ranges
	unsure := false
	x, isKnown := known[seg.number]
	holes := s.holes
	if s.header == nil && (len(holes) == 0 || holes[0].after > 0) && len(seg.entries) > 0 { // it begins with another record
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
			h.after = c.lastBefore(i, scans)
			if h.after == 0 {
				h.after, unsure = max(h.before, 1)-1, true
			}
		}
		if h.before == 0 && isKnown { // behind the last
			h.before = x.end
		}
		missing.addAll(c.absent(h.after, h.before, settled))
	}
	c.damaged(Damage{File: seg.name, Readings: seg.live, Unsure: unsure}, missing)
}

// lastBefore is the newest number of which the segments before one speak, or 0 if they speak of none.
func (c *contents) lastBefore(i int, scans []scan) (last uint64) {
	for j, older := range c.segments[:i] {
		if h := scans[j].header; h != nil {
			last = max(last, h.last)
		}
		if len(older.entries) > 0 {
			last = max(last, older.end()-1)
		}
	}
	return last
}

// search looks for segments that the newest one knows and that are not there. Of one that was deleted in good order, all is settled.
func (c *contents) search(scans []scan, numbers []uint64, settled ranges) {
	var newest scan
	for _, s := range scans {
		if s.end > 0 {
			newest = s
		}
	}
	if newest.header == nil {
		return
	}
	others := newest.header.others
	for _, number := range slices.Sorted(maps.Keys(others)) {
		if _, there := slices.BinarySearch(numbers, number); there {
			continue
		}
		x := others[number]
		if missing := c.absent(x.first-1, x.end, settled); len(missing) > 0 {
			c.damaged(Damage{File: segmentName(number), Gone: true}, missing)
		}
	}
}

func (c *contents) damaged(d Damage, missing ranges) {
	c.lost.addAll(missing)
	d.Missing, _ = missing.takeText(math.MaxUint64, math.MaxInt)
	c.damages = append(c.damages, d)
}

// absent are the numbers between two that are nowhere.
func (c *contents) absent(after, before uint64, settled ranges) ranges {
	if before == 0 || before-1 <= after {
		return nil
	}
	between, known := Range{after + 1, before - 1}, slices.Clone(settled)
	for _, s := range c.segments {
		for n := max(between.First, s.first); n <= between.Last && n < s.end(); n++ {
			if s.at(n) != nil {
				known.add(Range{n, n})
			}
		}
	}
	return known.without(between)
}
