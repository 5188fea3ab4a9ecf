package outbox

import "slices"

// A segment of which no reading is kept is removed from the disk: doomLocked decides, the next commit
// records what was removed, and discard removes the file after that is safe.

// doomLocked finds the segments that keep no reading. What is gone from them and from older ones is
// recorded again in this commit: the older ones stay, and a power cut may bring these back until the
// directory is synced, at the latest with the next segment.
func (c *committer) doomLocked(b *batch) {
	segments := c.disk.segments
	for i, s := range segments[:max(0, len(segments)-1)] {
		if s.live > 0 || s == c.tail {
			continue
		}
		for _, older := range segments[:i+1] {
			b.outcomes.removed.addAll(older.gone())
		}
		b.doomed, b.sync = append(b.doomed, s), true
	}
}

// recordGone has it recorded again that readings are gone from segments: a record of that may have
// been in one that goes.
func (d *diskStore) recordGone(segments []*segment) {
	for _, s := range segments {
		d.outcomes.removed.addAll(s.gone())
	}
}

// removeSegment forgets a segment.
func (d *diskStore) removeSegment(gone *segment) {
	d.segments = slices.DeleteFunc(slices.Clone(d.segments), func(s *segment) bool { return s == gone })
}

// discard removes the file of a segment that keeps no reading any more, and renames a damaged one. A
// file that cannot be removed now is found, and removed, after the next Open.
func (h *handles) discard(s *segment) {
	h.close(s)
	if s.damaged {
		_ = h.files.Rename(s.name, s.name+damagedSuffix)
		return
	}
	_ = h.files.Remove(s.name)
}
