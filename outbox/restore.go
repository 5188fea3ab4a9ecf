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

// A restore writes the log again, from the open files and the handle on the old directory, where its
// path leads to now. Readings that cannot be read any more are dropped as Damaged.

// maxRestores is how many restores follow each other at once. Beyond that, and after a failure,
// restoring takes at most a tenth of the time, for it may read and write all that is pending.
const maxRestores = 3

// restores are what the committer remembers of restores.
type restores struct {
	count     int       // since recoveryTime passed without one
	last      time.Time // when the last one succeeded
	notBefore time.Time // when the next one may begin
	failure   error     // why the last one failed; nil if it did not
	warned    bool      // Warn was told which readings may be lost
	patrolled time.Time // when the last patrol was
	taken     uint64    // the newest number that another process has given out in this epoch
}

// restore is called after an error. If the directory or a segment was removed or replaced, it restores
// what it can, and returns true; the tail must not be written any more then. Otherwise it returns the
// error, or why restoring failed.
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

// warnUnrestored names once the pending readings that the next Open will not find unless the directory
// can be restored.
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

// acceptedLocked is an iterator over the numbers that were accepted and are not safe yet.
func (c *committer) acceptedLocked(yield func(uint64) bool) {
	for _, p := range slices.Concat(c.unsynced.puts, c.disk.puts) {
		if p.answered && !yield(p.reading.ID.N) {
			return
		}
	}
}

// restoreFiles makes the directory at the path hold the log.
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

// admit returns an error if the directory holds pending readings that another process has accepted,
// which must not be touched. It renames segments that this log does not have, as in an older copy.
func (c *committer) admit(fresh Files, segments []*segment) error {
	names, err := fresh.List()
	if err != nil {
		return err
	}
	var unknown, others []string // with names that this log does not have; all files that it has not written
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

// isOurs reports whether this log has written the file with the name of a segment, or the file is a
// copy. Another process adds nothing to a file, but it may have begun one with the name of that which
// this log is beginning.
func (c *committer) isOurs(fresh Files, s *segment) bool {
	if c.sizeToRestore(s) > 0 || fresh.Verify(s.name, s.info, 0) == nil {
		return true
	}
	ours, _, _ := c.contentOf(s, s.size)
	there, _, _, err := readFile(fresh, s.name, nil)
	return err == nil && bytes.HasPrefix(ours, there)
}

// checkAccepted returns an error if another process has accepted readings that are pending in a
// directory: those of another epoch, and in the other files, which this log has not written, those of
// this epoch that it has not accepted.
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
		return fmt.Errorf("outbox: it holds %d readings that another process has accepted (%s-%d is the newest); "+
			"end this device and start it again, and they are sent", theirs, found.epoch, found.last)
	}
	if found.epoch == c.epoch {
		c.restores.taken = max(c.restores.taken, found.last)
	}
	return nil
}

// dropMissing drops the pending readings of damaged segments that cannot be read any more, and returns
// their numbers. It leaves out readings in flight: most of them will be acknowledged, and one that is
// not will be found missing when it is read again.
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
