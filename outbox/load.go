package outbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"slices"
)

// A Damage is a segment that does not hold any more what was written.
type Damage struct {
	File     string
	Readings int    // that could be read
	Missing  string // numbers that cannot, such as "17-20,25"; "" when none is
}

func (d Damage) Error() string {
	missing := "no reading is missing"
	if d.Missing != "" {
		missing = "these readings are missing: " + d.Missing
	}
	return fmt.Sprintf("outbox: the file %s is damaged: %d readings could be read, %s; it will be kept as %s",
		d.File, d.Readings, missing, d.File+damagedSuffix)
}

const damagedSuffix = ".damaged"

// contents are what the files of a log say, taken together.
type contents struct {
	epoch    string
	before   ID
	last     uint64
	segments []*segment // in order
	number   uint64     // of the newest segment
	dropped  drops
	untold   notice
	damages  []Damage
}

// load reads a log without writing anything, for a full disk must not keep a device from its readings.
func load(files Files) (*contents, error) {
	c := &contents{}
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
	ends := map[uint64]int64{}
	var scans []scan
	for _, n := range slices.Backward(numbers) {
		s, scan, err := loadSegment(files, n, ends)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a running device has deleted it meanwhile
		}
		if err != nil {
			return nil, err
		}
		c.segments, scans, c.number = append(c.segments, s), append(scans, scan), max(c.number, n)
		if h := scan.header; h != nil {
			maps.Copy(ends, h.ends) // what an older one says is the same
		}
	}
	slices.Reverse(c.segments)
	slices.Reverse(scans)
	c.join(scans)
	return c, nil
}

// secure syncs what a process may not have synced that was killed, for it will be handed out. Where that fails, as on a disk that
// cannot be written, the readings must go out all the same.
func (c *contents) secure(files Files) {
	if len(c.segments) == 0 {
		return
	}
	if f, err := files.Open(c.segments[len(c.segments)-1].name); err == nil {
		_ = f.Sync()
		f.Close()
	}
	_ = files.Sync()
}

func loadSegment(files Files, number uint64, ends map[uint64]int64) (*segment, scan, error) {
	s := &segment{name: segmentName(number), number: number}
	b, err := readFile(files, s.name)
	if err != nil {
		return nil, scan{}, err
	}
	end, ok := ends[number]
	if !ok {
		end = -1
	}
	scanned := scanSegment(s.name, b, end)
	s.size = scanned.end
	s.damaged = scanned.header == nil && slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) // whatever it was
	return s, scanned, nil
}

func readFile(files Files, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b[:n], nil
}

// join makes one log of the segments: the newest epoch counts, and so does, of a reading that stands twice, the newer one.
func (c *contents) join(scans []scan) {
	for _, s := range scans {
		if s.epoch != "" {
			c.epoch = s.epoch
		}
	}
	var settled ranges
	for i := range scans {
		s := &scans[i]
		c.segments[i].first = c.last + 1 // if it has no reading
		if h := s.header; h != nil {
			c.before, c.last, c.untold = h.before, max(c.last, h.last), h.untold
			c.segments[i].header, c.segments[i].first = *h, c.last+1
			c.dropped.addAll(h.dropped)
		}
		if s.epoch != c.epoch && s.epoch != "" {
			c.segments[i].damaged = true // of another outbox; it is kept, and no part of this one
			continue
		}
		settled.addAll(s.settled)
		c.dropped.addAll(s.dropped)
		for _, r := range s.dropped {
			c.untold.missing.addAll(r)
		}
		c.untold.remove(s.told) // a notice arrives after the drop that it tells of
		c.index(i, s.readings)
	}
	for _, r := range c.dropped {
		settled.addAll(r)
	}
	for i := range scans {
		c.inspect(i, scans, settled)
	}
	for _, r := range settled {
		c.forget(r)
		c.last = max(c.last, r.Last)
	}
}

// index takes a segment's readings in. One that stands in an older segment too was written again after a failure.
func (c *contents) index(i int, readings []found) {
	for _, r := range readings {
		if r.n <= c.last {
			for _, older := range c.segments[:i] {
				older.cut(r.n)
			}
		}
		c.segments[i].add(r.n, r.place)
		c.last = max(c.last, r.n)
	}
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
func (c *contents) inspect(i int, scans []scan, settled ranges) {
	s, seg := &scans[i], c.segments[i]
	if len(s.holes) == 0 && (s.header != nil || s.end == 0) {
		return
	}
	seg.damaged = true
	var missing ranges
	for _, at := range s.holes {
		if int(at) < len(s.readings) {
			from := seg.header.last
			if at > 0 {
				from = s.readings[at-1].n
			} else if s.header == nil {
				from = s.readings[0].n - 1 // what came before the first is not known
			}
			missing.addAll(c.lost(from, s.readings[at].n, settled))
		}
	}
	if tail := len(s.readings); i+1 < len(scans) && scans[i+1].header != nil && len(s.holes) > 0 {
		from := seg.header.last
		if tail > 0 {
			from = s.readings[tail-1].n
		}
		missing.addAll(c.lost(from, scans[i+1].header.last+1, settled))
	}
	c.dropped.add(Damaged, missing...)
	c.untold.missing.addAll(missing)
	text, _ := missing.takeText(math.MaxUint64, math.MaxInt)
	c.damages = append(c.damages, Damage{seg.name, len(s.readings), text})
}

// lost are the numbers between two that are nowhere.
func (c *contents) lost(after, before uint64, settled ranges) (lost ranges) {
	if before <= after+1 {
		return nil
	}
	for _, r := range settled.without(Range{after + 1, before - 1}) {
		for n := r.First; n <= r.Last; n++ {
			if !slices.ContainsFunc(c.segments, func(s *segment) bool { return s.at(n) != nil }) {
				lost.add(Range{n, n})
			}
		}
	}
	return lost
}
