package outbox

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// replacedSuffix ends the name of a file that was in the way of a restore.
const replacedSuffix = ".replaced"

// draftSuffix ends the name of a file that is being written.
const draftSuffix = ".new"

// rewrite makes the directory hold each segment. The newest comes first: it knows the others, so if
// the process is killed half-way, the next Open names what is missing.
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

// sizeToRestore is how many bytes of a segment are to be restored.
func (c *committer) sizeToRestore(s *segment) int64 {
	if s == c.tail {
		return s.safe // what is behind was not accepted, or is written again
	}
	return s.size
}

// contentOf reads the first size bytes of a segment, or as much as is left of it.
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

// writeTo makes a file of the directory hold our content of a segment, and returns how much of the
// segment the file holds. A file that begins with our content stays, as in a copy of the directory,
// which may hold more than is left to us.
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

// writeFile writes a file that replaces another one of its name.
func writeFile(files Files, name string, b []byte) (fs.FileInfo, error) {
	draft := name + draftSuffix
	_ = files.Remove(draft) // of an earlier attempt
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
