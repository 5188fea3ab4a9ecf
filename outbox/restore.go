package outbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"giantlizard.example/failover/statefile"
)

// A log trusts neither an open file nor a lock to be still what its path leads to: somebody may have removed, renamed or replaced
// the directory or a file in it. It verifies that before it answers a Put, and at each patrol. What is missing then is written
// again from the open files and the handle on the old directory; what cannot be read any more is dropped, as Damaged.

// maxRestores is how many restores follow each other at once. Beyond that, and after a failure, restoring takes at most a tenth of the
// time, for it may read and write all that is pending.
const maxRestores = 3

// patrol looks after the directory and every segment, and restores what is not there. It reports whether all is well.
func (l *Log) patrol() error {
	err := l.verifyAll()
	if err == nil {
		l.openSome()
		return nil
	}
	restored, err := l.restore(err)
	l.mu.Lock()
	l.failed(&batch{}, err, restored)
	l.mu.Unlock()
	if restored {
		l.signal() // there may be something to write again
		return nil
	}
	l.tellDisk(err, false)
	return err
}

// watched reports whether a patrol has anything to look after.
func (l *Log) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readings > 0 && len(l.segments) > 0
}

// openSome opens the newest files, so that what is in them can be restored when they are removed.
func (l *Log) openSome() {
	l.mu.Lock()
	segments := slices.Clone(l.segments[max(0, len(l.segments)-openFiles):])
	l.mu.Unlock()
	l.reads.Lock()
	defer l.reads.Unlock()
	for _, s := range slices.Backward(segments) {
		if len(l.open) >= openFiles {
			return
		}
		if s.file == nil {
			_ = l.openFile(s) // one that cannot be opened now is tried again
		}
	}
}

func (l *Log) verifyAll() error {
	l.mu.Lock()
	segments := slices.Clone(l.segments)
	l.mu.Unlock()
	for _, s := range segments {
		if s.size == 0 { // nothing in it counts
			continue
		}
		if err := l.Files.Verify(s.name, s.info, s.size); err != nil {
			return err
		}
	}
	return nil
}

// verifyTail returns nil if what was written last is in the file that the next Open will find.
func (l *Log) verifyTail() error {
	if l.tail == nil || l.tail.size == 0 {
		return nil
	}
	return l.Files.Verify(l.tail.name, l.tail.info, l.tail.size)
}

// restore is called after an error. If the directory or the tail was taken away, it puts back what it can, and reports true; the
// tail is to be abandoned then. Else it returns the error, or what made restoring fail.
func (l *Log) restore(err error) (bool, error) {
	if !errors.Is(err, statefile.ErrReplaced) {
		where := l.Files.Verify("", nil, 0)
		if where == nil {
			return false, err
		}
		err = where
	}
	begin := time.Now()
	if begin.Sub(l.restored) > calm {
		l.restores = 0
	}
	if begin.Before(l.restoreAt) {
		return false, cmp.Or(l.unhomed, err)
	}
	failure := l.restoreFiles()
	pause := 10 * time.Since(begin)
	if failure != nil {
		l.restoreAt, l.unhomed = time.Now().Add(pause), fmt.Errorf("%w: %w", err, failure)
		l.nameHomeless()
		return false, l.unhomed
	}
	l.restores, l.restored, l.unhomed, l.homeless = l.restores+1, time.Now(), nil, false
	if l.restores >= maxRestores {
		l.restoreAt = l.restored.Add(max(pause, retryDelay))
	}
	return true, err
}

// nameHomeless names once the pending readings that no next start will find unless the directory can be restored.
func (l *Log) nameHomeless() {
	if l.homeless {
		return
	}
	l.homeless = true
	var pending ranges
	l.mu.Lock()
	for _, s := range l.segments {
		for i, p := range s.entries {
			if p.size > 0 {
				pending.add(Range{s.first + uint64(i), s.first + uint64(i)})
			}
		}
	}
	for _, it := range slices.Concat(l.unsynced.items, l.work.items) {
		if it.told {
			pending.add(Range{it.entry.ID.N, it.entry.ID.N})
		}
	}
	l.mu.Unlock()
	if text, _ := pending.takeText(math.MaxUint64, math.MaxInt); text != "" {
		l.Warn(fmt.Errorf("outbox: pending readings %s-%s are lost if this process ends before they are delivered or the directory is restored", l.epoch, text))
	}
}

// restoreFiles makes the directory at the path hold the log.
func (l *Log) restoreFiles() error {
	fresh, err := l.Files.Retake()
	if err != nil {
		return err
	}
	l.mu.Lock()
	segments := slices.Clone(l.segments)
	l.mu.Unlock()
	if err = l.admit(fresh, segments); err == nil {
		err = l.rewrite(fresh, segments)
	}
	if err == nil {
		err = errors.Join(l.copyQuarantine(fresh), fresh.Sync())
	}
	if err != nil {
		return errors.Join(err, fresh.Close())
	}
	l.reads.Lock()
	old := l.Files
	l.Files = fresh
	l.reads.Unlock()
	_ = old.Close()
	for _, s := range segments {
		l.shut(s) // and not sooner: until now readers could read only from the old files
	}
	l.tellRestored(l.dropMissing(segments))
	return nil
}

func (l *Log) tellRestored(missing ranges) {
	kept, _ := l.Pending()
	how := "none is missing"
	if text, _ := missing.takeText(math.MaxUint64, noticeLimit); text != "" {
		how = "these are missing: " + text
	} else if kept == 0 {
		return
	}
	l.Warn(fmt.Errorf("outbox: files were removed or replaced while they were in use: %d pending readings were kept, %s", kept, how))
}

// admit returns an error if the directory holds pending readings that another process has accepted, which must not be touched.
// Segments that this log does not have, as in an older copy, are renamed.
func (l *Log) admit(fresh Files, segments []*segment) error {
	names, err := fresh.List()
	if err != nil {
		return err
	}
	var strangers, others []string // with names that this log does not have; all files that it has not written
	for _, name := range names {
		if _, is := numberOf(name); !is {
			continue
		}
		i := slices.IndexFunc(segments, func(s *segment) bool { return s.name == name })
		if i < 0 {
			strangers = append(strangers, name)
		}
		if i < 0 || !l.isOurs(fresh, segments[i]) {
			others = append(others, name)
		}
	}
	if len(others) == 0 {
		return nil
	}
	c, err := load(fresh)
	if err != nil {
		return err
	}
	if err := l.checkAccepted(c, others); err != nil {
		return err
	}
	for _, name := range strangers {
		if err := fresh.Rename(name, name+replacedSuffix); err != nil {
			return err
		}
	}
	return nil
}

// isOurs reports whether this log has written the file with the name of a segment, or it is a copy. Another process adds nothing to a
// file, but it may have begun one with the name of that which this log is beginning.
func (l *Log) isOurs(fresh Files, s *segment) bool {
	if l.counts(s) > 0 || fresh.Verify(s.name, s.info, 0) == nil {
		return true
	}
	ours, _, _ := l.contentOf(s, s.size)
	there, _, _, err := readFile(fresh, s.name, nil)
	return err == nil && bytes.HasPrefix(ours, there)
}

// counts is how many bytes of a segment are to be restored.
func (l *Log) counts(s *segment) int64 {
	if s == l.tail {
		return s.safe // what is behind was not accepted, or is written again
	}
	return s.size
}

// checkAccepted returns an error if another process has accepted readings that are pending in a directory: those of another
// epoch, and those of this one that this log has not accepted, in the other files, which it has not written.
func (l *Log) checkAccepted(c *contents, others []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	accepted := l.safe
	for _, it := range slices.Concat(l.unsynced.items, l.work.items) {
		if it.told {
			accepted = max(accepted, it.entry.ID.N)
		}
	}
	theirs := 0
	for _, s := range c.segments {
		for i, p := range s.entries {
			isNew := slices.Contains(others, s.name) && s.first+uint64(i) > accepted
			if p.size > 0 && (isNew || c.epoch != l.epoch) {
				theirs++
			}
		}
	}
	if theirs > 0 {
		return fmt.Errorf("outbox: it holds %d readings that another process has accepted (%s-%d is the newest); "+
			"end this device and start it again, and they are sent", theirs, c.epoch, c.last)
	}
	if c.epoch == l.epoch {
		l.taken = max(l.taken, c.last)
	}
	return nil
}

const replacedSuffix = ".replaced"

// rewrite makes the directory hold each segment. The newest comes first: it knows the others, so a start after a kill half-way
// names what is missing.
func (l *Log) rewrite(fresh Files, segments []*segment) error {
	for _, s := range slices.Backward(segments) {
		size := l.counts(s)
		if size == 0 || fresh.Verify(s.name, s.info, size) == nil {
			continue
		}
		ours, whole, err := l.contentOf(s, size)
		if err != nil {
			return err
		}
		kept, err := l.putSegment(fresh, s, ours, size)
		if err != nil {
			return err
		}
		s.short = s.short || !whole || kept < s.size
		s.size, s.safe = kept, min(s.safe, kept)
	}
	return nil
}

// contentOf reads what counts of a segment, or as much as is left of it.
func (l *Log) contentOf(s *segment, size int64) (b []byte, whole bool, err error) {
	l.reads.Lock() // a reader may close the file
	defer l.reads.Unlock()
	from := s.file
	if from == nil {
		if from, err = l.Files.Open(s.name); err != nil {
			if notNow(err) {
				return nil, false, err
			}
			return nil, false, nil
		}
		defer from.Close()
	}
	b, whole, err = readPages(from, size, nil)
	if err != nil && !notNow(err) {
		return nil, false, nil
	}
	return b, whole && int64(len(b)) == size, err
}

// putSegment makes a file of the directory hold our content of a segment, and returns how much of the segment it holds. A file that
// begins with our content stays, as in a copy of the directory, which may hold more than is left to us.
func (l *Log) putSegment(fresh Files, s *segment, ours []byte, size int64) (int64, error) {
	there, info, _, err := readFile(fresh, s.name, nil)
	if err == nil && bytes.HasPrefix(there, ours) && syncFile(fresh, s.name) == nil {
		s.info = info
		return min(size, int64(len(there))), nil
	}
	if err == nil && !bytes.HasPrefix(ours, there) {
		if err := fresh.Rename(s.name, s.name+replacedSuffix); err != nil {
			return 0, err
		}
	}
	if len(ours) == 0 {
		return 0, nil
	}
	info, err = writeFile(fresh, s.name, ours)
	if err == nil {
		s.info = info
	}
	return int64(len(ours)), err
}

func syncFile(files Files, name string) error {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// draftSuffix ends the name of a file that is being written.
const draftSuffix = ".new"

// writeFile writes a file that replaces another one of its name.
func writeFile(files Files, name string, b []byte) (fs.FileInfo, error) {
	draft := name + draftSuffix
	_ = files.Remove(draft) // of an earlier try
	to, err := files.Create(draft)
	if err != nil {
		return nil, err
	}
	_, err = to.Write(b)
	err = errors.Join(err, to.Sync())
	info, failure := to.Info()
	if err = errors.Join(err, failure, to.Close()); err == nil {
		err = files.Rename(draft, name)
	}
	if err != nil {
		_ = files.Remove(draft) // it takes room
		return nil, err
	}
	return info, nil
}

// copyQuarantine copies the quarantined readings of which the old directory still has the files.
func (l *Log) copyQuarantine(fresh Files) error {
	names, _ := l.Files.List()
	there, err := fresh.List()
	for _, name := range names {
		if err != nil || !strings.HasSuffix(name, quarantineSuffix) || slices.Contains(there, name) {
			continue
		}
		if b, _, _, failure := readFile(l.Files, name, nil); failure == nil {
			_, err = writeFile(fresh, name, b)
		}
	}
	return err
}

// dropMissing drops the pending readings that cannot be read any more. Those in flight are left out: most will be acknowledged,
// and reading the others again will show that they are gone.
func (l *Log) dropMissing(segments []*segment) (missing ranges) {
	for _, s := range segments {
		if !s.short {
			continue
		}
		s.short = false
		l.mu.Lock()
		entries, first := slices.Clone(s.entries), s.first
		l.mu.Unlock()
		for i, p := range entries {
			n := first + uint64(i)
			if p.size == 0 {
				continue
			}
			if _, err := l.readFrom(s, p, ID{l.epoch, n}); err == nil || notNow(err) {
				continue
			}
			l.mu.Lock()
			if _, inFlight := l.away[n]; s.at(n) != nil && (!inFlight || l.work.closing) {
				l.giveUp(s, n, Damaged)
				missing.add(Range{n, n})
			}
			l.mu.Unlock()
		}
	}
	return missing
}

// patrolInterval is how often the files are looked after while readings are pending.
const patrolInterval = statefile.RepairInterval

// nextPatrol is how long to wait at most, and whether a patrol is due.
func (l *Log) nextPatrol(wait time.Duration) (time.Duration, bool) {
	if !l.watched() {
		return wait, false
	}
	left := patrolInterval - time.Since(l.patrolled)
	return min(wait, max(0, left)), left <= 0
}
