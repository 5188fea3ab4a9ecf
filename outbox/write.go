package outbox

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// maxRanges is the maximum number of ranges in one record.
const maxRanges = frameLimit/(2*binary.MaxVarintLen64) - 10

// noticeBytes is the maximum size in bytes of the dropped numbers in the notice of a header, so that the header is
// far smaller than frameLimit. docs/guarantees.md says how many ranges that are.
const noticeBytes = 256 << 10

// bufferLimit is the size in bytes of the largest buffer that is kept for the next write.
const bufferLimit = 64 << 10

// append writes a batch to the end of the tail, or to a new segment.
func (c *committer) append(b *batch) error {
	if b.isEmpty() && !b.isFinal {
		return nil
	}
	if c.tail == nil || b.isFinal || c.tail.size >= c.options.segmentSize ||
		len(b.puts) > 0 && b.puts[0].reading.ID.N-c.tail.end() > maxGap {
		if err := c.roll(b); err != nil {
			return err
		}
	}
	s := c.tail
	buf := slices.Grow(c.buffer[:0], b.size())
	frame := func(payload func([]byte) []byte) { buf = appendFrame(buf, s.name, s.safe, payload) }
	if s.size == 0 {
		frame(func(p []byte) []byte { return appendHeader(p, s.header) })
	}
	for _, why := range b.outcomes.dropped.reasons() {
		for gone := range slices.Chunk(b.outcomes.dropped[why], maxRanges) {
			frame(func(p []byte) []byte { return appendRanges(appendText(append(p, kindDropped), string(why)), gone) })
		}
	}
	for removed := range slices.Chunk(b.outcomes.removed, maxRanges) {
		frame(func(p []byte) []byte { return appendRanges(append(p, kindRemoved), removed) })
	}
	if !b.outcomes.named.isEmpty() {
		frame(func(p []byte) []byte { return appendNotice(append(p, kindNamed), b.outcomes.named) })
	}
	now, elapsed := c.options.Now(), c.options.Elapsed()
	for _, call := range b.puts {
		from, put := len(buf), now
		if !put.IsZero() {
			put = put.Add(call.put - elapsed)
		}
		frame(func(p []byte) []byte { return appendReading(p, call.reading, put) })
		since := uint32((call.put - c.disk.opened) / time.Second)
		call.segment, call.place = s, place{uint32(s.size) + uint32(from), uint32(len(buf) - from), since}
	}
	if c.buffer = nil; cap(buf) <= bufferLimit {
		c.buffer = buf
	}
	if _, err := s.file.Write(buf); err != nil {
		return err
	}
	s.size += int64(len(buf))
	s.header = header{} // not needed any more, and large if there are many segments
	return nil
}

// size returns the approximate size of the batch in bytes, which is too low if many readings were removed or dropped.
func (b *batch) size() int {
	n := 1 << 10
	for _, p := range b.puts {
		n += p.size
	}
	return n
}

// roll begins a new segment. It first makes the previous segment safe, so that a power cut can tear only the newest.
func (c *committer) roll(b *batch) error {
	if err := c.flush(); err != nil {
		return err
	}
	s := &segment{block: block[place]{first: b.last + 1}}
	for err := fs.ErrExist; errors.Is(err, fs.ErrExist); { // the name may be in use, for example by a directory
		c.number++
		s.number, s.name = c.number, segmentName(c.number)
		if s.file, err = c.handles.files.Create(s.name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	s.info, _ = s.file.Info() // after an error, every Verify of the file will fail
	c.mu.Lock()
	s.header = c.headerLocked(b.last)
	c.disk.segments = append(c.disk.segments, s)
	c.mu.Unlock()
	c.handles.replaceTail(c.tail, s)
	c.tail, c.created = s, true
	return nil
}

// headerLocked returns the header of a segment whose readings have numbers above last.
func (c *committer) headerLocked(last uint64) header {
	h := header{
		epoch: c.epoch, previous: c.disk.previous, last: last,
		others: map[uint64]extent{}, dropped: c.disk.recorded.clone(),
	}
	h.unnamed.add(c.unnamed)
	for _, f := range c.inFlight { // the readings in flight may never arrive
		h.unnamed.add(f.named)
	}
	h.unnamed.missing = h.unnamed.missing.newest(noticeBytes)
	for _, s := range c.disk.segments {
		h.others[s.number] = extent{s.size, s.first, s.end()}
	}
	return h
}

// flush makes safe everything that was written to the tail.
func (c *committer) flush() error {
	if c.tail == nil || c.tail.size == 0 {
		return nil
	}
	if err := c.tail.file.Sync(); err != nil {
		return err
	}
	if c.created {
		if err := c.handles.files.Sync(); err != nil {
			return err
		}
		c.created = false
	}
	if err := c.verifyTail(); err != nil {
		return err
	}
	c.tail.safe = c.tail.size
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publishLocked(&c.unsynced)
	c.unsynced, c.disk.syncBy = batch{}, time.Time{}
	return nil
}

// conclude begins a last segment that holds nothing but a header. The header records the sizes of the
// other segments, so that the next Open notices when a segment has lost its end. The other segments can
// be read without it, so conclude ignores an error of the disk.
func (c *committer) conclude() {
	if n := len(c.disk.segments); n == 0 || c.disk.segments[n-1].isBare {
		return
	}
	before := c.tail
	err := c.append(&batch{last: c.Last(), isFinal: true})
	if err == nil {
		err = c.flush()
	}
	if err != nil && c.tail != before {
		c.handles.discard(c.tail)
	}
}

// publishLocked makes the readings of b, which are safe now, available to Peek, and announces the recorded drops.
func (c *committer) publishLocked(b *batch) {
	c.disk.recorded.add(b.outcomes.dropped)
	b.outcomes.announce(func(n uint64, why Reason) { c.announce(n, why) })
	for _, p := range b.puts {
		n := p.reading.ID.N
		p.segment.add(n, p.place)
		c.bytes += int(p.place.size) - p.size
		c.disk.safe = n
		p.answer(nil)
	}
	if len(b.puts) > 0 {
		c.room.Broadcast()
	}
}
