package outbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	"giantlizard.example/failover/payloads"
)

// Options are a Log's settings.
type Options struct {
	Limits  Limits
	Sync    time.Duration    // 0: Put waits until the disk has it; else it is on the disk, and can be sent, at the latest after so long
	Before  ID               // the last ID of the epoch before, for a log that is new; zero: none
	Files   Files            // nil: the operating system's
	Now     func() time.Time // nil: time.Now
	Dropped func(Drop)       // hears of the readings that are given up; must neither block nor call the log; may be nil
	Warn    func(error)      // hears of damage and of the disk's troubles, likewise

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
	safe     uint64 // the newest number that may be handed out
	segments []*segment
	away     map[uint64]*trip
	readings int // kept or about to be
	bytes    int
	dropped  map[Reason]ranges
	untold   notice
	tries    int       // to read the reading that could not be read last
	tried    time.Time // the last of them
	work     work

	reads sync.Mutex // held while a segment's file is opened, read or closed
	open  []*segment // whose files are open, the oldest first; under reads

	// These are the committer's.
	number   uint64   // of the newest segment
	tail     *segment // nil: the next commit begins one
	created  bool     // and its name is not safe yet
	unsynced batch    // written, and not safe yet
	troubled bool
	freed    time.Time // when readings were given up for others on a full disk
	failure  error     // of the last commit, for Close
}

// Open opens the log in a directory, which needs to exist no sooner than the first Put. It needs no space on the disk. One
// process at a time may have it open.
func Open(dir string, o Options) (*Log, error) {
	o.Limits = o.Limits.withDefaults()
	if o.Files == nil {
		o.Files = directory(dir)
	}
	if o.Now == nil {
		o.Now = time.Now
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
		away: map[uint64]*trip{}, dropped: c.dropped,
	}
	l.room = sync.NewCond(&l.mu)
	l.work.drops = map[Reason]ranges{}
	if l.epoch == "" {
		l.epoch, l.before, l.untold.before = newEpoch(), o.Before, o.Before
	}
	for _, s := range l.segments {
		l.readings += s.live
		for _, p := range s.entries {
			l.bytes += int(p.size)
		}
	}
	if missing := c.dropped[Damaged]; len(missing) > 0 {
		l.work.drops[Damaged] = slices.Clone(missing) // to be written down once
	}
	for _, d := range c.damages {
		o.Warn(d)
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

// An item is a reading on its way to the disk.
type item struct {
	entry Entry
	put   time.Time
	size  int // of its frame
	done  chan error
	told  bool     // done has been answered
	in    *segment // where it was written
	place place
}

// A trip is the way of a reading that was handed out.
type trip struct {
	told      notice // by the properties with which it was handed out
	condemned bool   // it is over, and the reading is on its way into the quarantine
}

// Put numbers a reading and returns once it is on the disk.
func (l *Log) Put(ctx context.Context, r payloads.Reading) (ID, error) {
	it, err := l.enqueue(ctx, r)
	if err != nil {
		return ID{}, err
	}
	select {
	case err = <-it.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return ID{}, err
	}
	return it.entry.ID, nil
}

func (l *Log) enqueue(ctx context.Context, r payloads.Reading) (*item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it := &item{entry: Entry{ID{l.epoch, l.last + 1}, r}, done: make(chan error, 1)}
	it.size = frameHead + len(appendReading(nil, it.entry, l.Now()))
	if err := l.makeRoom(ctx, it.size); err != nil {
		return nil, err
	}
	l.last++
	it.entry.ID.N = l.last // others may have come while it waited for room
	if it.put = l.Now(); r.Early != 0 {
		it.put = time.Time{} // by a clock that had not been set, so its age is not known
	}
	l.readings++
	l.bytes += it.size
	l.work.items = append(l.work.items, it)
	l.signal()
	return it, nil
}

// makeRoom follows the policy. When it returns nil, one more reading of the size fits.
func (l *Log) makeRoom(ctx context.Context, size int) error {
	for waits := false; ; {
		next := l.expire()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case l.sealed:
			return ErrClosed
		case size > l.Limits.Bytes || size > frameHead+frameLimit: // nothing would make room for it
		case l.readings < l.Limits.Readings && l.bytes+size <= l.Limits.Bytes:
			return nil
		case l.Limits.Full == Block:
			if !waits {
				waits = true
				defer context.AfterFunc(ctx, l.look)()
			}
			timer := time.AfterFunc(next, l.look)
			l.room.Wait()
			timer.Stop()
			continue
		case l.Limits.Full == DropOldest:
			if s, n, ok := l.oldest(0); ok {
				l.giveUp(s, n, NoRoom)
				continue
			}
		}
		l.last++
		l.drop(NoRoom, Range{l.last, l.last}, NoRoom)
		return ErrFull
	}
}

// look has those who wait for room look again.
func (l *Log) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room.Broadcast()
}

// expire gives up what has waited for too long, and returns when to look again.
func (l *Log) expire() (next time.Duration) {
	if l.Limits.Age <= 0 {
		return math.MaxInt64
	}
	for after := uint64(0); ; {
		s, n, ok := l.oldest(after)
		if !ok {
			return l.Limits.Age
		}
		put := s.at(n).put
		if after = n; put == 0 {
			continue // those behind it may be too old
		}
		if left := l.Limits.Age - l.Now().Sub(time.Unix(int64(put), 0)); left >= 0 {
			return left + 1
		}
		l.giveUp(s, n, TooOld)
	}
}

// oldest is the oldest reading above a number that waits and may be handed out.
func (l *Log) oldest(after uint64) (*segment, uint64, bool) {
	from, _ := slices.BinarySearchFunc(l.segments, after+1, func(s *segment, n uint64) int {
		if s.end() <= n {
			return -1
		}
		return 1
	})
	for _, s := range l.segments[from:] {
		i := s.low
		if after+1 > s.first {
			i = max(i, int(after+1-s.first))
		}
		for ; s.live > 0 && i < len(s.entries) && s.first+uint64(i) <= l.safe; i++ {
			n := s.first + uint64(i)
			if _, away := l.away[n]; !away && s.entries[i].size > 0 {
				return s, n, true
			}
			if i == s.low {
				s.low++
			}
		}
	}
	return nil, 0, false
}

// giveUp takes a reading out that waits.
func (l *Log) giveUp(s *segment, n uint64, why Reason) {
	l.bytes -= s.forget(n)
	l.readings--
	l.drop(why, Range{n, n}, why)
	l.room.Broadcast()
}

// knownDrops is how many ranges are remembered, of each reason, for whoever compares what was taken with what has arrived.
const knownDrops = 4096

// drop notes numbers as given up.
func (l *Log) drop(why Reason, r Range, cause error) {
	for _, all := range []map[Reason]ranges{l.dropped, l.work.drops} {
		s := all[why]
		s.add(r)
		all[why] = s[max(0, len(s)-knownDrops):]
	}
	l.untold.missing.add(r)
	l.later()
	l.Dropped(Drop{l.epoch, r, cause})
}

// Peek hands out the oldest waiting entry whose number is above after. One that has rotted on the disk is given up.
func (l *Log) Peek(after uint64) (Entry, bool) {
	for {
		l.mu.Lock()
		l.expire()
		s, n, ok := l.oldest(after)
		if !ok || l.work.closing {
			l.mu.Unlock()
			return Entry{}, false
		}
		p, id := *s.at(n), ID{l.epoch, n}
		t := &trip{}
		l.away[n] = t // so that the file stays while it is read
		l.mu.Unlock()
		e, err := l.readFrom(s, p, id)
		if err == nil {
			l.mu.Lock()
			l.tries, t.told = 0, l.untold.on(&e)
			l.mu.Unlock()
			return e, true
		}
		if !l.unreadable(s, n, err) {
			return Entry{}, false
		}
	}
}

// patience is how often a reading that cannot be read is tried again, a second apart: the disk or the system may recover.
const patience = 10

// notNow tells whether the process or its rights are short of something, which says nothing about the reading.
func notNow(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, fs.ErrPermission)
}

// gone tells whether the reading is not there any more.
func gone(err error) bool { return errors.Is(err, errRotten) || errors.Is(err, fs.ErrNotExist) }

// unreadable tells whether to go on with the next reading: this one has been given up.
func (l *Log) unreadable(s *segment, n uint64, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.away, n)
	s.low = min(s.low, int(n-s.first))
	if now := time.Now(); !notNow(err) && now.Sub(l.tried) >= retryDelay {
		l.tries, l.tried = l.tries+1, now
	}
	if !gone(err) && l.tries < patience {
		l.work.wakeBy = time.Now().Add(retryDelay)
		l.signal()
		return false
	}
	l.tries, s.damaged = 0, true
	l.giveUp(s, n, Damaged)
	l.Warn(fmt.Errorf("outbox: reading %d in %s: %w", n, s.name, err))
	return true
}

// Remove forgets an entry that was handed out.
func (l *Log) Remove(n uint64) {
	l.settle(n, func(s *segment, t *trip) {
		l.forget(s, n)
		l.work.told.add(t.told)
		l.later()
	})
}

// Leave takes an entry back that was handed out.
func (l *Log) Leave(n uint64) {
	l.settle(n, func(s *segment, t *trip) {
		s.low = min(s.low, int(n-s.first))
		l.untold.add(t.told)
	})
}

// Quarantine takes an entry out of the queue, and keeps it beside.
func (l *Log) Quarantine(n uint64, why error) {
	l.settle(n, func(s *segment, t *trip) {
		p := *s.at(n)
		l.work.quarantine = append(l.work.quarantine, condemned{s: s, n: n, place: p, why: why})
		l.untold.add(t.told)
		l.away[n] = &trip{condemned: true} // until it is safe
		l.signal()
	})
}

// forget takes a reading out that a hub has acknowledged, or that is kept elsewhere.
func (l *Log) forget(s *segment, n uint64) {
	l.bytes -= s.forget(n)
	l.readings--
	l.work.settled.add(Range{n, n})
}

func (l *Log) settle(n uint64, how func(*segment, *trip)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.away[n]
	if t == nil || t.condemned {
		return
	}
	delete(l.away, n)
	for _, s := range l.segments {
		if s.at(n) != nil {
			how(s, t)
			break
		}
	}
	l.room.Broadcast()
	l.wake()
}

// Last is the newest number.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Waiting is how many readings are kept, and the bytes that they take.
func (l *Log) Waiting() (readings, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readings, l.bytes
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
	return l.failure
}

func (l *Log) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}
