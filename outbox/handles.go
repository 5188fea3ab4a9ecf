package outbox

import (
	"slices"
	"sync"
)

// maxOpenFiles is how many segments' files are open at once. A long outage has many segments, and a
// process may often open 1,024 files; an open file can be restored when somebody removes it.
const maxOpenFiles = 64

// The handles are the open files of a log. Its lock is held while a segment's file is opened, read or closed.
type handles struct {
	mu    sync.Mutex
	files Files      // only the committer replaces them
	open  []*segment // those whose files are open, the one that was opened first in front
}

// read reads a reading, and opens its segment's file if need be.
func (h *handles) read(s *segment, p place, id ID) (Reading, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.file == nil {
		if err := h.openLocked(s); err != nil {
			return Reading{}, err
		}
		h.closeOldestLocked()
	}
	return s.read(p, id)
}

func (h *handles) openLocked(s *segment) error {
	f, err := h.files.Open(s.name)
	if err == nil {
		s.file, h.open = f, append(h.open, s)
	}
	return err
}

// closeOldestLocked closes the file that was opened first if too many are open, but never that of the
// tail, which alone is written.
func (h *handles) closeOldestLocked() {
	if len(h.open) <= maxOpenFiles {
		return
	}
	for i, s := range h.open {
		if !s.writing.Load() && i < len(h.open)-1 {
			s.file.Close()
			s.file, h.open = nil, slices.Delete(h.open, i, i+1)
			return
		}
	}
}

// openNewest opens the newest files, so that what is in them can be restored when they are removed.
func (h *handles) openNewest(segments []*segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range slices.Backward(segments[max(0, len(segments)-maxOpenFiles):]) {
		if len(h.open) >= maxOpenFiles {
			return
		}
		if s.file == nil {
			_ = h.openLocked(s) // one that cannot be opened now is tried again at the next patrol
		}
	}
}

// replaceTail makes a new segment, whose file is open, the one that is written.
func (h *handles) replaceTail(old, fresh *segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = append(h.open, fresh)
	if old != nil {
		old.writing.Store(false)
	}
	h.closeOldestLocked()
	fresh.writing.Store(true)
}

// replaceFiles makes the segments be read from another directory.
func (h *handles) replaceFiles(fresh Files, segments []*segment) {
	h.mu.Lock()
	old := h.files
	h.files = fresh
	h.mu.Unlock()
	_ = old.Close()
	for _, s := range segments {
		h.close(s) // and not sooner: until now readers could read only from the old files
	}
}

// current returns the Files for a goroutine that is not the committer.
func (h *handles) current() Files {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files
}

func (h *handles) close(s *segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	h.open = slices.DeleteFunc(h.open, func(x *segment) bool { return x == s })
}
