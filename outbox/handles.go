package outbox

import (
	"slices"
	"sync"
)

// maxOpenFiles is the maximum number of segment files that are open at once. A long outage makes many
// segments, and many systems allow a process only 1,024 open files. But an open file can be restored
// when somebody removes it.
const maxOpenFiles = 64

// handles holds the open files of a log. The lock mu is held while a segment's file is opened, read or closed.
type handles struct {
	mu    sync.Mutex
	files Files      // only the committer replaces them
	open  []*segment // the segments whose files are open, in the order in which they were opened
}

// read reads one reading from its segment's file, which it opens if need be.
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

// closeOldestLocked closes the file that was opened first if too many files are open. It never closes
// the file of the tail, because that file is being written, nor the file that was opened last.
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

// openNewest opens the files of the newest segments, so that they can be restored if somebody removes them.
func (h *handles) openNewest(segments []*segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range slices.Backward(segments[max(0, len(segments)-maxOpenFiles):]) {
		if len(h.open) >= maxOpenFiles {
			return
		}
		if s.file == nil {
			_ = h.openLocked(s) // the next patrol tries again
		}
	}
}

// replaceTail makes the segment fresh, whose file is open already, the tail in the place of old.
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

// replaceFiles makes the log read its segments from the directory fresh.
func (h *handles) replaceFiles(fresh Files, segments []*segment) {
	h.mu.Lock()
	old := h.files
	h.files = fresh
	h.mu.Unlock()
	_ = old.Close()
	for _, s := range segments {
		h.close(s) // not earlier: until now Peek could read only the old files
	}
}

// current returns the log's directory. Goroutines other than the committer's must get it here.
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
