package outbox

import (
	"time"
)

// A diskStore holds those fields of a Log, besides the queue, that the queue's lock guards. The lock is
// held whenever a field is used or a method is called.
type diskStore struct {
	syncs    time.Duration                // Options.Sync
	setSince func(n uint64) time.Duration // Options.SetSince
	opened   time.Duration                // Options.Elapsed at Open
	earlier  uint64                       // newest number that was given out before Open
	previous ID                           // the last ID of the previous epoch

	segments []*segment // in the order of their numbers
	safe     uint64     // the newest number that may be handed out
	recorded history    // drops that are recorded on the disk
	reads    readFailure
	scratch  []byte // memory that frameSize reuses
	work
}

// content is what one commit writes.
type content struct {
	puts       []*putCall
	outcomes   outcomes
	refused    []*putCall // calls that get ErrFull once their drops are recorded
	quarantine []quarantining
}

// work tells the committer what to do, and when.
type work struct {
	content
	kick    chan struct{} // has a value when the committer may have something to do
	closing bool

	// The zero time means that no such time is set.
	recordBy  time.Time // deadline for recording outcomes
	isolateBy time.Time // time of the next attempt to write to the quarantine
	syncBy    time.Time // deadline for syncing what was written
	peekBy    time.Time // time at which Changed gets a value, so that Peek tries again
	retryAt   time.Time // time of the next attempt to write; nothing is written earlier
}

func newDiskStore(o Options, epoch string, previous ID, c *contents) *diskStore {
	d := &diskStore{
		syncs: o.Sync, setSince: func(n uint64) time.Duration { return o.SetSince(ID{epoch, n}) }, opened: o.Elapsed(),
		earlier: c.last, previous: previous, segments: c.segments, safe: c.last, recorded: c.dropped,
	}
	d.kick = make(chan struct{}, 1)
	d.outcomes.dropped.add(Damaged, c.lost...) // the first commit records them
	return d
}

// signal wakes the committer.
func (w *work) signal() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// recordSoon makes the committer record the outcomes within recordDelay, even if no reading is put.
func (w *work) recordSoon() {
	if w.recordBy.IsZero() {
		w.recordBy = time.Now().Add(recordDelay)
		w.signal()
	}
}

// find returns the segment that keeps reading n, or nil. An empty segment that begins with a higher
// number may come before that segment, because n was taken back and given out again.
func (d *diskStore) find(n uint64) *segment {
	for _, s := range d.segments[search(d.segments, n):] {
		if s.at(n) != nil {
			return s
		}
	}
	return nil
}

func (d *diskStore) oldest(after uint64, inFlight map[uint64]*flight) (uint64, bool) {
	for _, s := range d.segments[search(d.segments, after+1):] {
		if n, ok := s.oldest(after, d.safe, inFlight); ok {
			return n, true
		}
	}
	return 0, false
}

// age does not depend on the wall clock if the reading was put in this run. The age of a reading from
// an earlier run is not known if the wall clock was not set then, or while the reading's time is later
// than the wall clock.
func (d *diskStore) age(n uint64, now time.Time, elapsed time.Duration) (age time.Duration, known bool) {
	put := d.find(n).at(n).put
	if n > d.earlier {
		return elapsed - d.opened - time.Duration(put)*time.Second, true
	}
	at := time.Unix(int64(put), 0).Add(d.setSince(n))
	return now.Sub(at), put > 0 && !at.After(now)
}

func (d *diskStore) remove(n uint64) (size int, ok bool) {
	s := d.find(n)
	if s == nil {
		return 0, false
	}
	size = int(s.at(n).size)
	s.remove(n)
	return size, true
}

func (d *diskStore) release(n uint64) {
	if s := d.find(n); s != nil {
		s.release(n)
	}
}

func (d *diskStore) acknowledged(n uint64, named notice) {
	d.outcomes.removed.add(Range{n, n})
	d.outcomes.named.add(named)
	d.recordSoon()
}

func (d *diskStore) dropped(n uint64, why Reason) {
	d.outcomes.dropped.add(why, Range{n, n})
	d.recordSoon()
}

// sync does nothing and returns false while the disk refuses readings.
func (d *diskStore) sync(pending int) bool {
	for _, s := range d.segments {
		pending -= s.live
	}
	if pending == 0 || !d.retryAt.IsZero() {
		return false
	}
	if d.syncs > 0 {
		d.syncBy = time.Now()
		d.signal()
	}
	return true
}
