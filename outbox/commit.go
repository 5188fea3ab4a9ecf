package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"time"
)

const (
	ackDelay   = time.Second // what is settled is written with the next reading, or after so long
	retryDelay = time.Second // between two tries on a disk that cannot be written
	calm       = time.Minute // after readings were given up on a full disk, until that is over
)

// work is what the committer is to write.
type work struct {
	items      []*item
	settled    ranges
	told       notice
	drops      map[Reason]ranges
	quarantine []condemned
	ackBy      time.Time // settled, told and drops are written by then; zero: there are none
	isolateBy  time.Time // the quarantine is tried again
	syncBy     time.Time // what was written is synced by then; zero: it is
	wakeBy     time.Time // whoever reads is to try again
	retry      time.Time // not before
	closing    bool
}

// A batch is what one commit writes.
type batch struct {
	items      []*item
	settled    ranges
	told       notice
	drops      map[Reason]ranges
	quarantine []condemned
	doomed     []*segment // nothing is left in them; they can go once this is safe
	last       uint64     // the newest number before it
	sync       bool
}

// later has what was settled or dropped written soon.
func (l *Log) later() {
	if l.work.ackBy.IsZero() {
		l.work.ackBy = time.Now().Add(ackDelay)
		l.signal()
	}
}

func (l *Log) signal() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// run is the committer: it writes whatever has come together while it wrote.
func (l *Log) run() {
	defer close(l.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.kick:
		case <-timer.C:
		case <-l.stop:
			l.finish()
			l.closeAll()
			return
		}
		b, wait := l.gather(false)
		for ; b != nil; b, wait = l.gather(false) {
			_ = l.commit(b) // it was told
		}
		timer.Reset(wait)
	}
}

// finish writes whatever there is, as far as the disk takes it.
func (l *Log) finish() {
	for b, _ := l.gather(true); b != nil; b, _ = l.gather(true) {
		if l.failure = l.commit(b); l.failure == nil {
			continue
		}
		l.mu.Lock()
		again := len(l.work.items) > 0 && l.work.retry.IsZero()
		if !again {
			_, fresh := split(l.work.items)
			l.refuse(fresh, l.failure)
		}
		l.mu.Unlock()
		if !again {
			return
		}
	}
}

// gather takes what is to be written now, or says how long to wait.
func (l *Log) gather(all bool) (*batch, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, now := &l.work, time.Now()
	if wait := w.retry.Sub(now); wait > 0 && !all {
		return nil, wait
	}
	if w.wakeBy != (time.Time{}) && !now.Before(w.wakeBy) {
		w.wakeBy = time.Time{}
		l.wake()
	}
	due := func(t time.Time) bool { return !t.IsZero() && (all || !now.Before(t)) }
	isolate := len(w.quarantine) > 0 && (all || !now.Before(w.isolateBy))
	if len(w.items) == 0 && !isolate && !due(w.ackBy) && !due(w.syncBy) {
		wait := time.Hour
		for _, t := range []time.Time{w.ackBy, w.syncBy, w.wakeBy, w.isolateBy} {
			if !t.IsZero() {
				wait = min(wait, t.Sub(now))
			}
		}
		return nil, wait
	}
	b := &batch{settled: w.settled, told: w.told, drops: w.drops}
	b.sync = l.Sync == 0 || l.troubled || due(w.syncBy) // only a sync shows that the trouble is over
	b.items, w.items = l.portion(w.items)
	w.settled, w.told, w.drops, w.ackBy = nil, notice{}, map[Reason]ranges{}, time.Time{}
	if isolate {
		b.quarantine, w.quarantine, w.isolateBy = w.quarantine, nil, time.Time{}
	}
	b.last = l.last
	if len(b.items) > 0 {
		b.last = b.items[0].entry.ID.N - 1
	}
	if accepted, _ := split(w.items); b.sync && len(accepted) == 0 { // else they may stand in what looks doomed
		l.doom(b)
	}
	return b, 0
}

// portion is as many items as one write takes.
func (l *Log) portion(items []*item) (now, later []*item) {
	size := 0
	for i, it := range items {
		gap := i > 0 && it.entry.ID.N-items[i-1].entry.ID.N > longestGap // begins a segment
		if size += it.size; i > 0 && (size > segmentSize || gap) {
			return items[:i:i], items[i:]
		}
	}
	return items, nil
}

// doom finds the segments in which nothing is left. What is gone from them and from older ones is said again in this commit: the
// older ones live, and a power cut may bring these back until the directory is synced, at the latest with the next segment.
func (l *Log) doom(b *batch) {
	for i, s := range l.segments[:max(0, len(l.segments)-1)] {
		if s.live > 0 || s == l.tail {
			continue
		}
		for _, older := range l.segments[:i+1] {
			b.settled.addAll(older.gone())
		}
		b.doomed, b.sync = append(b.doomed, s), true
	}
}

// commit makes a batch safe, or puts it back.
func (l *Log) commit(b *batch) error {
	isolated, notKept := l.isolate(b.quarantine)
	for _, q := range b.quarantine[:isolated] {
		quarantined := b.drops[Quarantined]
		quarantined.add(Range{q.n, q.n})
		b.drops[Quarantined] = quarantined
	}
	err := l.append(b)
	if err == nil && b.sync {
		err = l.flush()
	}
	l.mu.Lock()
	for _, q := range b.quarantine[:isolated] {
		l.leaveQueue(q)
	}
	if notKept != nil {
		l.work.quarantine = append(b.quarantine[isolated:], l.work.quarantine...)
		l.work.isolateBy = time.Now().Add(retryDelay)
	}
	if err != nil {
		l.failed(b, err)
	} else {
		l.committed(b)
	}
	over := len(l.work.quarantine) == 0 && (!b.empty() || isolated > 0) && time.Since(l.freed) > calm
	l.mu.Unlock()
	if err == nil {
		for _, s := range b.doomed {
			l.scrap(s)
		}
		err = notKept
	}
	l.tellDisk(err, over)
	return err
}

// empty tells whether there is nothing to append.
func (b *batch) empty() bool {
	return len(b.items) == 0 && len(b.settled) == 0 && b.told.empty() && len(b.drops) == 0
}

// append writes a batch behind the tail, or into a new segment.
func (l *Log) append(b *batch) error {
	if b.empty() {
		return nil
	}
	if l.tail == nil || l.tail.size >= l.segmentSize || len(b.items) > 0 && b.items[0].entry.ID.N-l.tail.end() > longestGap {
		if err := l.roll(b); err != nil {
			return err
		}
	}
	s := l.tail
	var buf []byte
	frame := func(payload func([]byte) []byte) { buf = appendFrame(buf, s.name, s.safe, payload) }
	if s.size == 0 {
		frame(func(p []byte) []byte { return appendHeader(p, s.header) })
	}
	for _, why := range slices.Sorted(maps.Keys(b.drops)) {
		frame(func(p []byte) []byte { return appendDropped(p, why, b.drops[why]) })
	}
	for settled := range slices.Chunk(b.settled, frameLimit/(2*binary.MaxVarintLen64)-1) {
		frame(func(p []byte) []byte { return appendRanges(append(p, kindSettled), settled) })
	}
	if !b.told.empty() {
		frame(func(p []byte) []byte { return appendNotice(append(p, kindTold), b.told) })
	}
	for _, it := range b.items {
		from := len(buf)
		frame(func(p []byte) []byte { return appendReading(p, it.entry, it.put) })
		it.in, it.place = s, place{uint32(s.size) + uint32(from), uint32(len(buf) - from), seconds(it.put)}
	}
	if _, err := s.file.Write(buf); err != nil {
		return err
	}
	s.size += int64(len(buf))
	return nil
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
	l.mu.Lock()
	s.header = header{
		epoch: l.epoch, before: l.before, untold: l.unheard(), last: b.last, ends: map[uint64]int64{}, dropped: map[Reason]ranges{},
	}
	for why, r := range l.dropped {
		s.header.dropped[why] = slices.Clone(r)
	}
	for _, older := range l.segments {
		s.header.ends[older.number] = older.size
	}
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	l.reads.Lock()
	l.open = append(l.open, s)
	l.reads.Unlock()
	if l.tail != nil {
		l.tail.writing.Store(false)
	}
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
	l.tail.safe = l.tail.size
	l.mu.Lock()
	defer l.mu.Unlock()
	l.publish(l.unsynced.items)
	l.unsynced, l.work.syncBy = batch{}, time.Time{}
	return nil
}

// publish lets readings be handed out that are safe.
func (l *Log) publish(items []*item) {
	for _, it := range items {
		n := it.entry.ID.N
		it.in.add(n, it.place)
		l.bytes += int(it.place.size) - it.size
		l.safe = n
		it.answer(nil)
	}
	if len(items) > 0 {
		l.wake()
	}
}

func (it *item) answer(err error) {
	if !it.told {
		it.told = true
		it.done <- err
	}
}

// committed is called with the lock held.
func (l *Log) committed(b *batch) {
	l.work.retry = time.Time{}
	if b.sync {
		l.publish(b.items)
		l.work.syncBy = time.Time{}
	} else {
		for _, it := range b.items {
			it.answer(nil) // the process may be killed now, but there must be no power cut
		}
		u := &l.unsynced
		u.items, u.drops = append(u.items, b.items...), merged(u.drops, b.drops)
		u.settled.addAll(b.settled)
		u.told.add(b.told)
		if l.work.syncBy.IsZero() {
			l.work.syncBy = time.Now().Add(l.Sync)
		}
	}
	for _, s := range b.doomed {
		l.remove(s)
	}
	older := l.segments[:max(0, len(l.segments)-1)]
	if slices.ContainsFunc(older, func(s *segment) bool { return s.live == 0 && s != l.tail }) {
		l.later() // it can go with the next batch, which may have nothing else to do
	}
}

// merged adds ranges to a map, which may be nil.
func merged(into, from map[Reason]ranges) map[Reason]ranges {
	if into == nil {
		into = map[Reason]ranges{}
	}
	for why, r := range from {
		all := into[why]
		all.addAll(r)
		into[why] = all
	}
	return into
}

func (l *Log) remove(doomed *segment) {
	for i, s := range l.segments {
		if s == doomed {
			l.segments = append(l.segments[:i:i], l.segments[i+1:]...)
			return
		}
	}
}

// failed is called with the lock held. What was written is in doubt, so nothing is ever added to that segment. Readings that
// were accepted before they were safe are written again; the policy decides on those that were not.
func (l *Log) failed(b *batch, err error) {
	w := &l.work
	if s := l.tail; s != nil {
		s.writing.Store(false)
		s.size = s.safe
		if s.size == 0 || l.created && len(l.unsynced.items) == 0 { // no reading in it counts, and each try leaves another
			l.remove(s)
			for _, older := range l.segments {
				w.settled.addAll(older.gone()) // what it said of them
			}
			defer l.scrap(s)
		}
		l.tail, l.created = nil, false
	}
	for _, doubtful := range []*batch{&l.unsynced, b} {
		w.settled.addAll(doubtful.settled)
		w.told.add(doubtful.told)
		w.drops = merged(w.drops, doubtful.drops)
	}
	again, fresh := split(b.items)
	accepted := append(l.unsynced.items, again...)
	l.unsynced, w.syncBy = batch{}, time.Time{}
	w.retry, w.ackBy = time.Now().Add(retryDelay), time.Now().Add(retryDelay)
	switch {
	case l.Limits.Full == Block && !w.closing:
		accepted = append(accepted, fresh...)
	case len(accepted)+len(fresh) > 0 && l.Limits.Full == DropOldest && outOfSpace(err) && l.freeOldest():
		accepted, w.retry, l.freed = append(accepted, fresh...), time.Time{}, time.Now()
	default:
		l.refuse(fresh, err)
		if len(accepted) == 0 {
			w.retry = time.Time{} // the next reading may try at once
		}
	}
	w.items = append(accepted, w.items...)
}

// split tells those that were accepted, which come first, from those that were not.
func split(items []*item) (accepted, fresh []*item) {
	i := slices.IndexFunc(items, func(it *item) bool { return !it.told })
	if i < 0 {
		return items, nil
	}
	return items[:i:i], items[i:]
}

// refuse gives readings up that were never accepted.
func (l *Log) refuse(items []*item, err error) {
	for _, it := range items {
		l.readings--
		l.bytes -= it.size
		n := it.entry.ID.N
		l.drop(DiskFull, Range{n, n}, fmt.Errorf("%w: %w", DiskFull, err))
		it.answer(fmt.Errorf("outbox: %w: %w", DiskFull, err))
	}
	l.room.Broadcast()
}

// outOfSpace tells whether there is no room for more, a quota's included.
func outOfSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// freeOldest makes room on a full disk with the oldest segment of which nothing is on its way. The newest is never given up: it
// knows the numbers.
func (l *Log) freeOldest() bool {
	for i, s := range l.segments[:max(0, len(l.segments)-1)] {
		if s.damaged || l.isAway(s) {
			continue
		}
		for n := s.first; n < s.end(); n++ {
			if s.at(n) != nil {
				l.giveUp(s, n, DiskFull)
			}
		}
		for _, older := range l.segments[:i] {
			l.work.settled.addAll(older.gone()) // the segment may have said so
		}
		l.segments = append(l.segments[:i:i], l.segments[i+1:]...)
		l.scrap(s)
		return true
	}
	return false
}

func (l *Log) isAway(s *segment) bool {
	for n := range l.away {
		if n >= s.first && n < s.end() {
			return true
		}
	}
	return false
}

// tellDisk says once that the disk cannot be written, and once that it can again.
func (l *Log) tellDisk(err error, over bool) {
	switch {
	case err != nil && !l.troubled:
		l.Warn(fmt.Errorf("outbox: readings cannot be written: %w; make room, or make the directory writable", err))
		l.troubled = true
	case err == nil && l.troubled && over:
		l.Warn(errors.New("outbox: readings can be written again"))
		l.troubled = false
	}
}
