package outbox

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// rangesLimit is how many ranges one record takes.
const rangesLimit = frameLimit/(2*binary.MaxVarintLen64) - 10

// writtenLimit is how many bytes are kept for the next write.
const writtenLimit = 64 << 10

// append writes a batch behind the tail, or into a new segment.
func (l *Log) append(b *batch) error {
	if b.empty() && !b.final {
		return nil
	}
	if l.tail == nil || b.final || l.tail.size >= l.segmentSize || len(b.items) > 0 && b.items[0].entry.ID.N-l.tail.end() > longestGap {
		if err := l.roll(b); err != nil {
			return err
		}
	}
	s := l.tail
	buf := slices.Grow(l.written[:0], b.size())
	frame := func(payload func([]byte) []byte) { buf = appendFrame(buf, s.name, s.safe, payload) }
	if s.size == 0 {
		frame(func(p []byte) []byte { return appendHeader(p, s.header) })
	}
	for _, why := range b.drops.reasons() {
		for dropped := range slices.Chunk(b.drops[why], rangesLimit) {
			frame(func(p []byte) []byte { return appendDropped(p, why, dropped) })
		}
	}
	for settled := range slices.Chunk(b.settled, rangesLimit) {
		frame(func(p []byte) []byte { return appendRanges(append(p, kindSettled), settled) })
	}
	if !b.told.empty() {
		frame(func(p []byte) []byte { return appendNotice(append(p, kindTold), b.told) })
	}
	now, elapsed := l.Now(), l.Elapsed()
	for _, it := range b.items {
		from, put := len(buf), now
		if !put.IsZero() {
			put = put.Add(it.put - elapsed)
		}
		frame(func(p []byte) []byte { return appendReading(p, it.entry, put) })
		since := uint32((it.put - l.opened) / time.Second)
		it.in, it.place = s, place{uint32(s.size) + uint32(from), uint32(len(buf) - from), since}
	}
	if l.written = nil; cap(buf) <= writtenLimit {
		l.written = buf
	}
	if _, err := s.file.Write(buf); err != nil {
		return err
	}
	s.size += int64(len(buf))
	s.header = header{} // written, and large where there are many segments
	return nil
}

// size is about what the batch takes, and no less unless much was settled or dropped.
func (b *batch) size() int {
	n := 1 << 10
	for _, it := range b.items {
		n += it.size
	}
	return n
}

// roll begins a segment. What is in the one before is made safe first, so that only the newest can be torn.
func (l *Log) roll(b *batch) error {
	if err := l.flush(); err != nil {
		return err
	}
	s := &segment{first: b.last + 1}
	for err := fs.ErrExist; errors.Is(err, fs.ErrExist); { // a directory, say
		l.number++
		s.number, s.name = l.number, segmentName(l.number)
		if s.file, err = l.Files.Create(s.name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	s.info, _ = s.file.Info() // without it, no Verify will find the file
	l.mu.Lock()
	s.header = header{
		epoch: l.epoch, before: l.before, untold: l.unheard(), last: b.last, others: map[uint64]extent{}, dropped: l.dropped.clone(),
	}
	for _, older := range l.segments {
		s.header.others[older.number] = extent{older.size, older.first, older.end()}
	}
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	l.reads.Lock()
	l.open = append(l.open, s)
	if l.tail != nil {
		l.tail.writing.Store(false)
	}
	l.closeSome()
	l.reads.Unlock()
	s.writing.Store(true)
	l.tail, l.created = s, true
	return nil
}

// unheard is what no reading that has arrived has told.
func (l *Log) unheard() (n notice) {
	n.add(l.untold)
	for _, t := range l.away {
		n.add(t.told)
	}
	n.missing = n.missing[max(0, len(n.missing)-knownDrops):] // so that it fits into a header
	return n
}

// flush makes safe what has been written.
func (l *Log) flush() error {
	if l.tail == nil || l.tail.size == 0 {
		return nil
	}
	if err := l.tail.file.Sync(); err != nil {
		return err
	}
	if l.created {
		if err := l.Files.Sync(); err != nil {
			return err
		}
		l.created = false
	}
	if err := l.verifyTail(); err != nil {
		return err
	}
	l.tail.safe = l.tail.size
	l.mu.Lock()
	defer l.mu.Unlock()
	l.publish(&l.unsynced)
	l.unsynced, l.work.syncBy = batch{}, time.Time{}
	return nil
}

// conclude begins a segment that holds nothing but what it knows of the others, so that a later Open notices when one has lost
// its end. None of it is needed to read them, so a disk that does not take it is no failure.
func (l *Log) conclude() {
	if n := len(l.segments); n == 0 || l.segments[n-1].bare {
		return
	}
	before := l.tail
	err := l.append(&batch{last: l.last, final: true})
	if err == nil {
		err = l.flush()
	}
	if err != nil && l.tail != before {
		l.scrap(l.tail)
	}
}

// publish lets readings be handed out that are safe, and tells what was refused.
func (l *Log) publish(b *batch) {
	l.dropped.add(b.drops)
	b.refused.each(func(why Reason, n uint64) { l.Dropped(Drop{l.epoch, Range{n, n}, why}) })
	for _, it := range b.items {
		n := it.entry.ID.N
		it.in.add(n, it.place)
		l.bytes += int(it.place.size) - it.size
		l.safe = n
		it.answer(nil)
	}
	if len(b.items) > 0 {
		l.room.Broadcast()
	}
}
