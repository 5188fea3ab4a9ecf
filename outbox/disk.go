package outbox

import "slices"

// openFiles is how many segments' files are open at once. A long outage has many segments, and a process may often open 1,024
// files; what is open can be restored when somebody removes the files.
const openFiles = 64

// readFrom reads a reading, opening its segment's file if need be.
func (l *Log) readFrom(s *segment, p place, id ID) (Reading, error) {
	l.reads.Lock()
	defer l.reads.Unlock()
	if s.file == nil {
		if err := l.openFile(s); err != nil {
			return Reading{}, err
		}
		l.closeSome()
	}
	return s.read(p, id)
}

// openFile is called with reads locked.
func (l *Log) openFile(s *segment) error {
	f, err := l.Files.Open(s.name)
	if err == nil {
		s.file, l.open = f, append(l.open, s)
	}
	return err
}

// closeSome closes the file that has been open for the longest, but for the tail's, which alone is written.
func (l *Log) closeSome() {
	if len(l.open) <= openFiles {
		return
	}
	for i, s := range l.open {
		if !s.writing.Load() && i < len(l.open)-1 {
			s.file.Close()
			s.file, l.open = nil, slices.Delete(l.open, i, i+1)
			return
		}
	}
}

// scrap removes the file of a segment in which nothing is left, and keeps a damaged one. A file that cannot be removed now is
// found again, and has nothing left in it, at the next Open.
func (l *Log) scrap(s *segment) {
	l.shut(s)
	if s.damaged {
		_ = l.Files.Rename(s.name, s.name+damagedSuffix)
		return
	}
	_ = l.Files.Remove(s.name)
}

func (l *Log) shut(s *segment) {
	l.reads.Lock()
	defer l.reads.Unlock()
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	l.open = slices.DeleteFunc(l.open, func(x *segment) bool { return x == s })
}

func (l *Log) closeAll() {
	l.mu.Lock()
	segments := slices.Clone(l.segments)
	l.mu.Unlock()
	for _, s := range segments {
		l.shut(s)
	}
	_ = l.Files.Close()
}
