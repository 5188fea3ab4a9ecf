package outbox

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// replacedSuffix ends the name of a file that a restore has renamed, because the log needed its name.
const replacedSuffix = ".replaced"

// draftSuffix ends the name of a file that is being written.
const draftSuffix = ".new"

// rewrite writes into the directory fresh each segment that is missing there. It writes the newest
// segment first, because its header lists the others: if the process is killed half-way, the next Open
// names what is missing.
func (c *committer) rewrite(fresh Files, segments []*segment) error {
	for _, s := range slices.Backward(segments) {
		size := c.sizeToRestore(s)
		if size == 0 || fresh.Verify(s.name, s.info, size) == nil {
			continue
		}
		ours, whole, err := c.contentOf(s, size)
		if err != nil {
			return err
		}
		kept, err := s.writeTo(fresh, ours, size)
		if err != nil {
			return err
		}
		s.short = s.short || !whole || kept < s.size
		s.size, s.safe = kept, min(s.safe, kept)
	}
	return nil
}

// sizeToRestore returns how many bytes of a segment a restore must write.
func (c *committer) sizeToRestore(s *segment) int64 {
	if s == c.tail {
		return s.safe // later readings were not accepted, or are written again
	}
	return s.size
}

// contentOf reads the first size bytes of a segment, or those that can still be read; whole is false if some cannot.
func (c *committer) contentOf(s *segment, size int64) (b []byte, whole bool, err error) {
	c.handles.mu.Lock() // a reader may close the file
	defer c.handles.mu.Unlock()
	from := s.file
	if from == nil {
		if from, err = c.handles.files.Open(s.name); err != nil {
			if isTemporary(err) {
				return nil, false, err
			}
			return nil, false, nil
		}
		defer from.Close()
	}
	b, whole, err = readPages(from, size, nil)
	if err != nil && !isTemporary(err) {
		return nil, false, nil
	}
	return b, whole && int64(len(b)) == size, err
}

// writeTo makes the segment's file in the directory fresh hold ours, which is the part of the segment
// that this log can still read, and returns how many bytes of the segment the file holds. An existing
// file that begins with ours stays as it is: in a copy of the directory it may hold more than ours.
func (s *segment) writeTo(fresh Files, ours []byte, size int64) (int64, error) {
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

// writeFile writes b to a draft, syncs it, and renames it to name. A file of that name is replaced as a
// whole: a crash leaves the old file or the new one.
func writeFile(files Files, name string, b []byte) (fs.FileInfo, error) {
	draft := name + draftSuffix
	_ = files.Remove(draft) // an earlier attempt may have left the draft
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
		_ = files.Remove(draft) // the draft takes space on the disk
		return nil, err
	}
	return info, nil
}

// copyQuarantine copies the quarantined readings whose files are still in the old directory.
func (c *committer) copyQuarantine(fresh Files) error {
	old := c.handles.files
	names, _ := old.List()
	there, err := fresh.List()
	for _, name := range names {
		if err != nil || !strings.HasSuffix(name, quarantineSuffix) || slices.Contains(there, name) {
			continue
		}
		if b, _, _, failure := readFile(old, name, nil); failure == nil {
			_, err = writeFile(fresh, name, b)
		}
	}
	return err
}
