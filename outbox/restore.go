package outbox

import (
	"errors"
	"fmt"
	"io"
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

// maxRestores is how often within retryDelay the log is restored. Beyond that the policy decides, and the next try comes later.
const maxRestores = 3

// patrol looks after the directory and every segment, and restores what is not there. It reports whether all is well.
func (l *Log) patrol() error {
	err := l.verifyAll()
	if err == nil {
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
	if !errors.Is(err, statefile.ErrReplaced) && l.Files.Verify("", nil, 0) == nil {
		return false, err
	}
	if time.Since(l.restored) > retryDelay {
		l.restores = 0
	}
	if l.restores == maxRestores {
		return false, err
	}
	if failure := l.restoreFiles(); failure != nil {
		l.nameHomeless()
		return false, fmt.Errorf("%w: %w", statefile.ErrReplaced, failure)
	}
	l.restores, l.restored, l.homeless = l.restores+1, time.Now(), false
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
	var suspects []*segment
	if err = l.admit(fresh, segments); err == nil {
		suspects, err = l.rewrite(fresh, segments)
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
	missing := l.dropMissing(suspects)
	kept, _ := l.Waiting()
	how := "none is missing"
	if text, _ := missing.takeText(math.MaxUint64, noticeLimit); text != "" {
		how = "these are missing: " + text
	}
	l.Warn(fmt.Errorf("outbox: files were removed or replaced while they were in use: %d pending readings were kept, %s", kept, how))
	return nil
}

// admit returns an error if the directory holds pending readings of another outbox, which must not be touched. Files of this one
// that it does not need, as an older copy has, are renamed.
func (l *Log) admit(fresh Files, segments []*segment) error {
	names, err := fresh.List()
	if err != nil {
		return err
	}
	var strangers []string
	for _, name := range names {
		known := slices.ContainsFunc(segments, func(s *segment) bool { return s.name == name && fresh.Verify(name, s.info, 0) == nil })
		if _, is := numberOf(name); is && !known {
			strangers = append(strangers, name)
		}
	}
	if len(strangers) == 0 {
		return nil
	}
	c, err := load(fresh)
	if err != nil {
		return err
	}
	live := 0
	for _, s := range c.segments {
		live += s.live
	}
	if live > 0 && c.epoch != l.epoch {
		return fmt.Errorf("outbox: it holds %d readings of another outbox (%s); end this device and start it again, and they are sent", live, c.epoch)
	}
	for _, name := range strangers {
		if err := fresh.Rename(name, name+replacedSuffix); err != nil {
			return err
		}
	}
	return nil
}

const replacedSuffix = ".replaced"

// rewrite copies to the directory each segment that is not in it. It returns those of which readings may be missing.
func (l *Log) rewrite(fresh Files, segments []*segment) (suspects []*segment, err error) {
	for _, s := range segments {
		size := s.size
		if s == l.tail {
			size = s.safe // what is behind was not accepted, or is written again
		}
		if size == 0 || fresh.Verify(s.name, s.info, size) == nil {
			continue
		}
		info, err := l.copyFile(fresh, s, size)
		if err != nil {
			return nil, err
		}
		l.shut(s)
		if s.info = info; info == nil {
			size = 0
		} else {
			size = min(size, info.Size())
		}
		if size < s.size {
			suspects = append(suspects, s)
		}
		s.size, s.safe = size, min(s.safe, size)
	}
	return suspects, nil
}

// copyFile copies as much of a segment as can still be read. info is nil if that is nothing.
func (l *Log) copyFile(fresh Files, s *segment, size int64) (info fs.FileInfo, err error) {
	l.reads.Lock()
	from := s.file
	l.reads.Unlock()
	if from == nil {
		if from, err = l.Files.Open(s.name); err == nil {
			defer from.Close()
		} else if from, err = fresh.Open(s.name + replacedSuffix); err == nil { // the file of a copy
			defer from.Close()
		} else {
			return nil, nil
		}
	}
	return writeCopy(fresh, s.name, from, size)
}

// writeCopy writes a file with at most size bytes of another one.
func writeCopy(fresh Files, name string, from io.ReaderAt, size int64) (fs.FileInfo, error) {
	draft := name + ".new"
	_ = fresh.Remove(draft) // of an earlier try
	to, err := fresh.Create(draft)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(to, io.NewSectionReader(from, 0, size))
	if err = errors.Join(err, to.Sync()); err == nil {
		err = fresh.Rename(draft, name)
	}
	info, failure := to.Info()
	if err = errors.Join(err, failure, to.Close()); err != nil {
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
		if f, failure := l.Files.Open(name); failure == nil {
			_, err = writeCopy(fresh, name, f, fileLimit)
			f.Close()
		}
	}
	return err
}

// dropMissing drops the pending readings that cannot be read any more. Those in flight are left out: most will be acknowledged,
// and reading the others again will show that they are gone.
func (l *Log) dropMissing(segments []*segment) (missing ranges) {
	for _, s := range segments {
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
const patrolInterval = statefile.PatrolInterval

// nextPatrol is how long to wait at most, and whether a patrol is due.
func (l *Log) nextPatrol(wait time.Duration) (time.Duration, bool) {
	if !l.watched() {
		return wait, false
	}
	left := patrolInterval - time.Since(l.patrolled)
	return min(wait, max(0, left)), left <= 0
}
