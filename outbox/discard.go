package outbox

import "slices"

// A segment that keeps no reading any more is removed from the disk in three steps: doomLocked selects
// the segment, the commit records which readings are gone, and discard removes the file once the record
// is safe.

// doomLocked selects the segments that keep no reading. The batch records again which readings are gone
// from these segments and from older ones: the older segments stay, and a power cut may bring the
// removed files back until the directory is synced, at the latest with the next segment.
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

// recordGone makes the next commit record again which readings are gone from the segments: an earlier
// record may have been in a segment that is removed.
func (d *diskStore) recordGone(segments []*segment) {
	for _, s := range segments {
		d.outcomes.removed.addAll(s.gone())
	}
}

// removeSegment removes a segment from the list of segments.
func (d *diskStore) removeSegment(gone *segment) {
	d.segments = slices.DeleteFunc(slices.Clone(d.segments), func(s *segment) bool { return s == gone })
}

// discard removes the file of a segment that keeps no reading any more; it renames the file of a
// damaged segment instead. If a file cannot be removed now, it is found and removed after the next Open.
func (h *handles) discard(s *segment) {
	h.close(s)
	if s.damaged {
		_ = h.files.Rename(s.name, s.name+damagedSuffix)
		return
	}
	_ = h.files.Remove(s.name)
}
