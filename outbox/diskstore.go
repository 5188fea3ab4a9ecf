package outbox

import (
	"time"
)

// A diskStore is what of a Log the lock of its queue guards, beside the queue itself: all fields and
// methods need it.
type diskStore struct {
	syncs    time.Duration                // Options.Sync
	setSince func(n uint64) time.Duration // Options.SetSince
	opened   time.Duration                // Options.Elapsed at Open
	earlier  uint64                       // the newest number of an earlier run
	previous ID                           // the last ID of the previous epoch

	segments []*segment // in the order of their numbers
	safe     uint64     // the newest number that may be handed out
	recorded history    // the drops that are recorded
	reads    readFailure
	scratch  []byte // for frameSize
	work
}

// content is what a commit writes.
type content struct {
	puts       []*putCall
	outcomes   outcomes
	refused    []*putCall // have no room, and are answered when that is recorded
	quarantine []quarantining
}

// work is what the committer is to do.
type work struct {
	content
	kick    chan struct{} // has a value when there may be something to do
	closing bool

	// The zero time means that there is nothing to do.
	recordBy  time.Time // outcomes are recorded by then
	isolateBy time.Time // quarantine is tried again
	syncBy    time.Time // what was written is synced by then
	peekBy    time.Time // Changed has a value by then
	retryAt   time.Time // nothing is written before
}

func newDiskStore(o Options, epoch string, previous ID, c *contents) *diskStore {
	d := &diskStore{
		syncs: o.Sync, setSince: func(n uint64) time.Duration { return o.SetSince(ID{epoch, n}) }, opened: o.Elapsed(),
		earlier: c.last, previous: previous, segments: c.segments, safe: c.last, recorded: c.dropped,
	}
	d.kick = make(chan struct{}, 1)
	d.outcomes.dropped.add(Damaged, c.lost...) // recorded by the first commit
	return d
}

// signal wakes the committer.
func (w *work) signal() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// recordSoon has outcomes recorded that no reading needs.
func (w *work) recordSoon() {
	if w.recordBy.IsZero() {
		w.recordBy = time.Now().Add(recordDelay)
		w.signal()
	}
}

// find returns the segment that keeps a reading, or nil. It may be behind an empty segment that begins
// with a higher number: that number was taken back and given out again.
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

// age does not depend on the wall clock if the reading is of this run. Of an earlier run it is not
// known if the clock was not set then, nor while the clock says that the reading is of the future.
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

// sync does nothing while the disk refuses readings.
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
