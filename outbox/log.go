package outbox

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"giantlizard.example/failover/statefile"
)

// Options are a Log's settings.
type Options struct {
	Limits   Limits
	Sync     time.Duration    // 0: Put waits until the disk has it; else it is on the disk, and can be sent, at the latest after so long
	Previous ID               // the last ID of another outbox of this device that was in use since this one was last open; the zero ID means that there was none
	Owner    *statefile.Dir   // the directory above, whose lock must be ours whenever a Put is answered; nil means that none is needed
	Files    Files            // nil: the operating system's
	Now      func() time.Time // the wall clock; the zero time means that it has not been set. nil: time.Now
	Dropped  func(Drop)       // hears of the readings that are given up; must neither block nor call the log; may be nil
	Warn     func(error)      // hears of damage and of the disk's troubles, likewise

	Elapsed  func() time.Duration   // since any moment before Open, whatever the wall clock does; nil: by the monotonic clock
	SetSince func(ID) time.Duration // by how much the wall clock was set after a reading of an earlier run was put; nil: not at all

	segmentSize int64
}

// segmentSize is from which size on a segment is full.
const segmentSize = 1 << 20

// A Log is an outbox on disk: an append-only log in segments. It outlives the process and a power cut.
type Log struct {
	Options
	changed chan struct{}
	kick    chan struct{} // has a value when there may be something to write
	stop    chan struct{}
	ended   chan struct{}

	mu       sync.Mutex
	room     *sync.Cond // there may be room again
	sealed   bool
	epoch    string
	before   ID // the last of the epoch before
	last     uint64
	taken    uint64        // the newest number that another process has given out in this epoch, when files were replaced
	earlier  uint64        // the newest number of an earlier run
	opened   time.Duration // Elapsed at Open
	safe     uint64        // the newest number that may be handed out
	segments []*segment
	away     map[uint64]*trip
	readings int // kept or about to be
	bytes    int
	dropped  history
	untold   notice
	tries    int       // to read the reading that could not be read last
	tried    time.Time // the last of them
	blind    bool      // readings cannot be read
	work     work
	scratch  []byte // for sizeOf

	reads sync.Mutex // held while a segment's file is opened, read or closed
	open  []*segment // whose files are open, the oldest first; under reads

	// These are the committer's.
	number    uint64   // of the newest segment
	tail      *segment // nil: the next commit begins one
	created   bool     // and its name is not safe yet
	unsynced  batch    // written, and not safe yet
	written   []byte   // last, for the next write
	troubled  bool
	freed     time.Time // when readings were given up for others on a full disk
	failure   error     // of the last commit, for Close
	restores  int       // of files that were taken away, since a minute passed without one
	restored  time.Time // the last time
	restoreAt time.Time // not before
	unhomed   error     // why the last try failed
	homeless  bool      // the files could not be restored, and that was told
	patrolled time.Time // the last time
}

// Open opens the log in a directory, which needs to exist no sooner than the first Put. It needs no space on the disk. One
// process at a time may have it open.
func Open(dir string, o Options) (*Log, error) {
	o.Limits = o.Limits.WithDefaults()
	if o.Files == nil {
		files := ownedFiles(dir, o.Owner)
		if err := files.anchor(); err != nil {
			return nil, fmt.Errorf("outbox: open %s: %w", dir, err)
		}
		o.Files = files
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		began := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(began) }
	}
	if o.SetSince == nil {
		o.SetSince = func(ID) time.Duration { return 0 }
	}
	if o.Dropped == nil {
		o.Dropped = func(Drop) {}
	}
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	if o.segmentSize == 0 {
		o.segmentSize = segmentSize
	}
	c, err := load(o.Files)
	if err != nil {
		return nil, fmt.Errorf("outbox: open %s: %w", dir, err)
	}
	c.secure(o.Files)
	l := &Log{
		Options: o, changed: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		stop: make(chan struct{}), ended: make(chan struct{}),
		epoch: c.epoch, before: c.before, untold: c.untold, last: c.last, safe: c.last, segments: c.segments, number: c.number,
		away: map[uint64]*trip{}, dropped: c.dropped, earlier: c.last, opened: o.Elapsed(),
	}
	l.room = sync.NewCond(&l.mu)
	if l.epoch == "" {
		l.epoch, l.before = newEpoch(), o.Previous
	}
	if o.Previous != (ID{}) && o.Previous != c.before { // else it is known
		l.untold.before = o.Previous
	}
	for _, s := range l.segments {
		l.readings += s.live
		for _, p := range s.entries {
			l.bytes += int(p.size)
		}
	}
	for _, d := range c.damages {
		o.Warn(d)
	}
	for _, t := range c.torn {
		o.Warn(t)
	}
	l.work.drops.add(Damaged, c.lost...) // to be written down once
	for _, r := range c.lost {
		o.Dropped(Drop{l.epoch, r, Damaged})
	}
	go l.run()
	l.wake()
	return l, nil
}

func newEpoch() string {
	epoch := make([]byte, 4)
	rand.Read(epoch) // never fails
	return hex.EncodeToString(epoch)
}

// Epoch is in the IDs that this log gives out.
func (l *Log) Epoch() string { return l.epoch }

// Last is the newest number.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Newest is the newest reading's ID; its number is 0 before the first.
func (l *Log) Newest() ID { return ID{l.epoch, l.Last()} }

// Waiting is how many readings are kept, and the bytes that they take.
func (l *Log) Pending() (readings, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readings, l.bytes
}

// Coming tells whether there are readings that are not safe yet, and has them made so at once.
func (l *Log) RequestSync() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hurry()
}

// Changed has a value when something may have been put or left since it was last read.
func (l *Log) Changed() <-chan struct{} { return l.changed }

// Seal refuses what comes later.
func (l *Log) Seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = true
	l.room.Broadcast()
}

// Close writes down what has been settled and closes the files. What is on its way waits for the next Open.
func (l *Log) Close() error {
	l.Seal()
	l.mu.Lock()
	closed := l.work.closing
	l.work.closing = true
	l.mu.Unlock()
	if !closed {
		close(l.stop)
	}
	<-l.ended
	if l.failure != nil {
		return unwritable("close", l.failure)
	}
	return nil
}

func (l *Log) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}
