package outbox

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/statefile"
)

// Options are the settings of an outbox.
type Options struct {
	Limits Limits
	// Sync is the longest time from the acceptance of a reading until the reading is safe from a power
	// cut and can be sent. Zero means that Put returns only when the reading is safe.
	Sync time.Duration
	// Previous is the last ID of another outbox of this device that was in use since this one was last
	// open. The zero ID means that there was none.
	Previous ID
	// Owner is the parent directory, whose lock the process must hold whenever Put accepts a reading. Nil
	// means that no lock is needed.
	Owner *statefile.Dir
	// Files is the directory in which the log keeps its files. Nil means a directory of the operating
	// system, at the path that Open is given.
	Files Files
	// Now returns the time of the wall clock, or the zero time while the clock is not set. Nil means
	// time.Now.
	Now func() time.Time
	// Elapsed returns the time since a fixed moment before Open, by a clock that nobody can set. Nil
	// means the monotonic clock.
	Elapsed func() time.Duration
	// SetSince returns by how much in all the wall clock was set after a reading was put in an earlier
	// run. Nil means that the clock was never set.
	SetSince func(ID) time.Duration
	// Dropped is called for readings that are dropped. It must neither block nor call the outbox. It
	// may be nil.
	Dropped func(Drop)
	// Warn is called about damage and failures of the disk. It must neither block nor call the outbox.
	// It may be nil.
	Warn func(error)

	segmentSize int64
}

// segmentSize is the size in bytes at which a segment is full.
const segmentSize = 1 << 20

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.WithDefaults()
	began := time.Now()
	settings.Default(&o.Now, time.Now)
	settings.Default(&o.Elapsed, func() time.Duration { return time.Since(began) })
	settings.Default(&o.SetSince, func(ID) time.Duration { return 0 })
	settings.Default(&o.Dropped, func(Drop) {})
	settings.Default(&o.Warn, func(error) {})
	settings.Default(&o.segmentSize, segmentSize)
	return o
}

// A Log is an outbox on disk: an append-only log in segments. It outlives the process and a power cut.
//
// Four types share its state. The queue's lock guards the queue and the diskStore. The handles have a
// lock of their own, which is held while a file is opened, read or closed. The committer belongs to one
// goroutine, and only that goroutine writes files.
type Log struct {
	*queue
	disk    *diskStore
	handles *handles

	stop    chan struct{} // closed by Close
	ended   chan struct{} // closed when the committer has ended
	failure error         // why the committer failed at Close; set before ended is closed
}

// Open opens the log in a directory. It makes no file, so it succeeds on a full disk; the first Put
// makes the directory if need be. Only one process at a time may have a log open. The error wraps a
// *statefile.VersionError if another version of failover has written the log.
func Open(dir string, o Options) (*Log, error) {
	o = o.withDefaults()
	if o.Files == nil {
		files := newDirectory(dir, o.Owner)
		if err := files.anchor(); err != nil {
			return nil, fmt.Errorf("outbox: open %s: %w", dir, err)
		}
		o.Files = files
	}
	c, err := load(o.Files)
	if err != nil {
		return nil, fmt.Errorf("outbox: open %s: %w", dir, err)
	}
	c.secure(o.Files)
	epoch, previous, unnamed := c.epoch, c.previous, c.unnamed
	if epoch == "" {
		epoch, previous = newEpoch(), o.Previous
	}
	if o.Previous != (ID{}) && o.Previous != c.previous { // otherwise the log knows it already
		unnamed.previous = o.Previous
	}
	l := &Log{
		queue:   newQueue(o, epoch, frameHead+frameLimit-growth),
		disk:    newDiskStore(o, epoch, previous, c),
		handles: &handles{files: o.Files},
		stop:    make(chan struct{}), ended: make(chan struct{}),
	}
	l.store, l.last, l.unnamed = l.disk, c.last, unnamed
	l.readings, l.bytes = c.pending()
	for _, d := range c.damages {
		o.Warn(d)
	}
	for _, t := range c.torn {
		o.Warn(t)
	}
	for _, r := range c.lost {
		o.Dropped(Drop{epoch, r, Damaged})
	}
	committer := &committer{Log: l, number: c.number}
	go committer.run()
	l.signalChange()
	return l, nil
}

func newEpoch() string {
	epoch := make([]byte, 4)
	rand.Read(epoch) // never fails
	return hex.EncodeToString(epoch)
}

// Close records the outcomes of readings and closes the files. It returns an error if recording failed
// or if the next Open will not find all pending readings. Readings in flight are pending at the next
// Open.
func (l *Log) Close() error {
	l.Seal()
	l.mu.Lock()
	if !l.disk.closing {
		l.disk.closing = true
		close(l.stop)
	}
	l.mu.Unlock()
	<-l.ended
	if l.failure != nil {
		return unwritable("close", l.failure)
	}
	return nil
}
