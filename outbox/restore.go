package outbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"giantlizard.example/failover/statefile"
)

// A restore writes the log again, into the directory to which its path leads now. It reads the log from
// the open files and through the handle on the old directory. Readings that cannot be read any more are
// dropped as Damaged.

// maxRestores is the maximum number of restores that may follow each other without a back-off. After that
// number, and after a failed restore, the back-off limits restoring to about a tenth of the time, because
// a restore may read and write all pending readings.
const maxRestores = 3

// restores is what the committer remembers of earlier restores.
type restores struct {
	count     int       // number of restores since recoveryTime last passed without one
	last      time.Time // time of the last successful restore
	notBefore time.Time // earliest time of the next restore
	failure   error     // why the last restore failed; nil if it succeeded
	warned    bool      // Warn has reported which readings may be lost
	patrolled time.Time // time of the last patrol
	taken     uint64    // newest number that another process has given out in this epoch
}

// restore is called after an error err. If the directory or a segment was removed or replaced, restore
// writes the log again and returns true and the error; after that the tail must not be written any more.
// Otherwise it returns false and err, or the error of the restore.
func (c *committer) restore(err error) (bool, error) {
	if !errors.Is(err, statefile.ErrReplaced) {
		replaced := c.handles.files.Verify("", nil, 0)
		if replaced == nil {
			return false, err
		}
		err = replaced
	}
	r, began := &c.restores, time.Now()
	if began.Sub(r.last) > recoveryTime {
		r.count = 0
	}
	if began.Before(r.notBefore) {
		return false, cmp.Or(r.failure, err)
	}
	failure := c.restoreFiles()
	backOff := 10 * time.Since(began)
	if failure != nil {
		r.notBefore, r.failure = time.Now().Add(backOff), fmt.Errorf("%w: %w", err, failure)
		c.warnUnrestored()
		return false, r.failure
	}
	r.count, r.last, r.failure, r.warned = r.count+1, time.Now(), nil, false
	if r.count >= maxRestores {
		r.notBefore = r.last.Add(max(backOff, retryDelay))
	}
	return true, err
}

// warnUnrestored reports to Warn, once, the pending readings that the next Open will not find unless the
// directory can be restored.
func (c *committer) warnUnrestored() {
	if c.restores.warned {
		return
	}
	c.restores.warned = true
	var pending ranges
	c.mu.Lock()
	for _, s := range c.disk.segments {
		for n := range s.kept {
			pending.add(Range{n, n})
		}
	}
	for n := range c.acceptedLocked {
		pending.add(Range{n, n})
	}
	c.mu.Unlock()
	if text, _ := pending.takeText(math.MaxUint64, math.MaxInt); text != "" {
		c.options.Warn(fmt.Errorf("outbox: pending readings %s-%s are lost if this process ends before they are "+
			"delivered or the directory is restored", c.epoch, text))
	}
}

// acceptedLocked is an iterator over the numbers of the readings that were accepted and are not safe yet.
func (c *committer) acceptedLocked(yield func(uint64) bool) {
	for _, p := range slices.Concat(c.unsynced.puts, c.disk.puts) {
		if p.answered && !yield(p.reading.ID.N) {
			return
		}
	}
}

// restoreFiles writes the log into the directory to which the path leads now.
func (c *committer) restoreFiles() error {
	fresh, err := c.handles.files.Retake()
	if err != nil {
		return err
	}
	segments := c.segments()
	if err = c.admit(fresh, segments); err == nil {
		err = c.rewrite(fresh, segments)
	}
	if err == nil {
		err = errors.Join(c.copyQuarantine(fresh), fresh.Sync())
	}
	if err != nil {
		return errors.Join(err, fresh.Close())
	}
	c.handles.replaceFiles(fresh, segments)
	c.warnRestored(c.dropMissing(segments))
	return nil
}

func (c *committer) warnRestored(missing ranges) {
	kept, _ := c.Pending()
	how := "none is missing"
	if text, _ := missing.takeText(math.MaxUint64, noticeLimit); text != "" {
		how = "these are missing: " + text
	} else if kept == 0 {
		return
	}
	c.options.Warn(fmt.Errorf("outbox: files were removed or replaced while they were in use: "+
		"%d pending readings were kept, %s", kept, how))
}

// admit returns an error if the directory fresh holds pending readings that another process has
// accepted, because this log must not touch them. If there are none, it renames segment files that this
// log does not have, such as those in an older copy of the directory.
func (c *committer) admit(fresh Files, segments []*segment) error {
	names, err := fresh.List()
	if err != nil {
		return err
	}
	// unknown: segment files with names that this log does not have. others: all segment files that this
	// log has not written.
	var unknown, others []string
	for _, name := range names {
		if _, is := numberOf(name); !is {
			continue
		}
		i := slices.IndexFunc(segments, func(s *segment) bool { return s.name == name })
		if i < 0 {
			unknown = append(unknown, name)
		}
		if i < 0 || !c.isOurs(fresh, segments[i]) {
			others = append(others, name)
		}
	}
	if len(others) == 0 {
		return nil
	}
	found, err := load(fresh)
	if err != nil {
		return err
	}
	if err := c.checkAccepted(found, others); err != nil {
		return err
	}
	for _, name := range unknown {
		if err := fresh.Rename(name, name+replacedSuffix); err != nil {
			return err
		}
	}
	return nil
}

// isOurs reports whether the file with the name of segment s was written by this log or is a copy of
// such a file. Another process never appends to a file of this log, but it may have created a file with
// the name of the segment that this log is beginning.
func (c *committer) isOurs(fresh Files, s *segment) bool {
	if c.sizeToRestore(s) > 0 || fresh.Verify(s.name, s.info, 0) == nil {
		return true
	}
	ours, _, _ := c.contentOf(s, s.size)
	there, _, _, err := readFile(fresh, s.name, nil)
	return err == nil && bytes.HasPrefix(ours, there)
}

// checkAccepted returns an error if another process has accepted readings that are pending in found.
// These are all readings of another epoch. In the files named others, which this log has not written,
// they are also the readings of this epoch that this log has not accepted.
func (c *committer) checkAccepted(found *contents, others []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	accepted := c.disk.safe
	for n := range c.acceptedLocked {
		accepted = max(accepted, n)
	}
	theirs := 0
	for _, s := range found.segments {
		isOther := slices.Contains(others, s.name)
		for n := range s.kept {
			if isOther && n > accepted || found.epoch != c.epoch {
				theirs++
			}
		}
	}
	if theirs > 0 {
		return fmt.Errorf("outbox: the directory holds %d readings that another process has accepted (%s-%d is the "+
			"newest); end this device and start it again to send them", theirs, found.epoch, found.last)
	}
	if found.epoch == c.epoch {
		c.restores.taken = max(c.restores.taken, found.last)
	}
	return nil
}

// dropMissing drops pending readings that cannot be read any more, in segments that were restored only
// in part, and returns their numbers. Unless the log is being closed, it does not drop readings in
// flight: most of them will be acknowledged, and Peek will drop the others when it reads them again.
func (c *committer) dropMissing(segments []*segment) (missing ranges) {
	for _, s := range segments {
		if !s.short {
			continue
		}
		s.short = false
		c.mu.Lock()
		copied := block[place]{first: s.first, places: slices.Clone(s.places)}
		c.mu.Unlock()
		for n, p := range copied.kept {
			if _, err := c.handles.read(s, p, ID{c.epoch, n}); err == nil || isTemporary(err) {
				continue
			}
			c.mu.Lock()
			if s.at(n) != nil && (c.inFlight[n] == nil || c.disk.closing) {
				c.dropLocked(n, Damaged)
				missing.add(Range{n, n})
			}
			c.mu.Unlock()
		}
	}
	return missing
}
