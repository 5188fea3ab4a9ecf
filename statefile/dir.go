package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

var (
	// ErrLocked means that another process owns the directory.
	ErrLocked = errors.New("another process uses it")
	// ErrReplaced means that the path does not lead to the directory that this process has locked: it was removed, renamed or
	// replaced, or its lock file was.
	ErrReplaced = errors.New("the directory was removed, replaced or made inaccessible")
)

const lockName = "lock"

// RepairInterval is how often the owner of a Dir should call Repair.
const RepairInterval = 500 * time.Millisecond

// A Dir is a directory of small files that one process at a time owns, by a lock on a file in it. The process reads and writes
// through a handle on the directory, so it never touches what somebody has put in its place. All methods may be called from any
// goroutine.
type Dir struct {
	path   string
	fsync  Fsync
	accept func() error
	warn   func(error)
	free   bool // no lock is wanted; see At

	mu    sync.Mutex // guards held and takes
	held  *holding   // nil until the directory was taken for the first time, and after Close
	takes int        // how often it was taken

	files    sync.Mutex         // held while the directory is taken or a file in it is written; guards what follows
	contents map[string]content // by name: what each file should hold
	troubled bool               // a warning was given and not withdrawn
	closed   bool
	refused  error     // what accept returned last
	askAt    time.Time // accept is not called sooner, for it may take long
}

// A holding is a directory that this process has locked.
type holding struct {
	root     *os.Root
	lock     *flock.Flock
	dirInfo  fs.FileInfo
	lockInfo fs.FileInfo
}

// A content is what a file should hold. info identifies the file that holds it; nil means that none does yet.
type content struct {
	text []byte
	info fs.FileInfo
}

// NewDir makes a Dir that is not taken yet. accept, which may be nil, decides each time whether a directory that was just locked
// may be used. warn, which may be nil, receives what Repair finds. Neither may call the Dir.
func NewDir(path string, accept func() error, warn func(error)) *Dir {
	if accept == nil {
		accept = func() error { return nil }
	}
	if warn == nil {
		warn = func(error) {}
	}
	return &Dir{path: path, fsync: system, accept: accept, warn: warn, contents: map[string]content{}}
}

// Path is the directory's path.
func (d *Dir) Path() string { return d.path }

// File is a file in the directory.
func (d *Dir) File(name string) File { return File{d, name} }

// Acquire makes and locks the directory, unless this process owns it already, and removes what a killed process left half-written.
// If the path led to another directory before, Acquire writes the files again that were loaded or saved there. The error is ErrLocked
// if another process owns the directory, or what accept returned; any other means that nothing can be locked there.
func (d *Dir) Acquire() error {
	d.files.Lock()
	defer d.files.Unlock()
	return d.take()
}

func (d *Dir) take() error {
	switch {
	case d.closed:
		return fmt.Errorf("statefile: %s: %w", d.path, fs.ErrClosed)
	case d.Verify() == nil:
		return nil
	case time.Now().Before(d.askAt):
		return d.refused
	}
	old := d.held
	h, err := d.fsync.hold(d.path, old)
	if err != nil {
		return err
	}
	asked := time.Now()
	if err := d.accept(); err != nil {
		h.release(old)
		d.refused, d.askAt = err, time.Now().Add(10*time.Since(asked))
		return err
	}
	h.removeUnfinished()
	d.mu.Lock()
	d.held = h
	d.takes++
	d.mu.Unlock()
	if old == nil {
		return nil
	}
	old.release(h)
	return d.restore()
}

// Generation is how often the directory was taken. Another process may have used it between two times.
func (d *Dir) Generation() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.takes
}

// Verify returns nil if the path still leads to the directory that this process has locked.
func (d *Dir) Verify() error {
	d.mu.Lock()
	h := d.held
	d.mu.Unlock()
	if h == nil {
		return fmt.Errorf("statefile: %s: %w", d.path, errNotTaken)
	}
	for path, want := range map[string]fs.FileInfo{d.path: h.dirInfo, filepath.Join(d.path, lockName): h.lockInfo} {
		switch info, err := os.Stat(path); {
		case err != nil:
			return fmt.Errorf("statefile: %w: %w", ErrReplaced, err)
		case !os.SameFile(info, want):
			return fmt.Errorf("statefile: %w: %s is another one now", ErrReplaced, path)
		}
	}
	return nil
}

var errNotTaken = errors.New("the directory is not locked")

// Repair takes the directory again if it was removed or replaced, and writes the files again that were. It warns once when that
// fails, and once when it succeeds.
func (d *Dir) Repair() {
	d.files.Lock()
	defer d.files.Unlock()
	gone := d.Verify()
	err := d.take()
	if err == nil {
		err = d.restore()
	}
	switch {
	case err != nil && d.troubled:
	case err != nil && d.Verify() == nil:
		d.warn(fmt.Errorf("statefile: files in %s cannot be written: %w; make room, or make the directory writable", d.path, err))
	case err != nil:
		d.warn(fmt.Errorf("statefile: %s cannot be used: %w; nothing is accepted there until it can be made and locked", d.path, err))
	case gone != nil:
		d.warn(fmt.Errorf("statefile: %s was made and locked again, with the files that belong there", d.path))
	case d.troubled:
		d.warn(fmt.Errorf("statefile: %s can be used again, with the files that belong there", d.path))
	}
	d.troubled = err != nil
}

// Close writes a last time what is missing, and gives the directory back. Nothing is written after that.
func (d *Dir) Close() {
	d.files.Lock()
	defer d.files.Unlock()
	defer func() { d.closed = true }()
	if d.held == nil {
		return
	}
	if err := errors.Join(d.take(), d.restore()); err != nil && !d.troubled {
		d.warn(err)
	}
	d.mu.Lock()
	h := d.held
	d.held = nil
	d.mu.Unlock()
	h.release(nil)
}

// restore writes each file whose content is not at the path. It is called with files locked.
func (d *Dir) restore() error {
	var errs []error
	for name, c := range d.contents {
		if !d.isThere(name, &c) {
			errs = append(errs, d.put(d.held.root, name, c.text))
		}
	}
	return errors.Join(errs...)
}

// isThere reports whether the file at the path holds a content, and remembers which file that is.
func (d *Dir) isThere(name string, c *content) bool {
	path := filepath.Join(d.path, name)
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	if c.info != nil && os.SameFile(info, c.info) && info.Size() == c.info.Size() && info.ModTime().Equal(c.info.ModTime()) {
		return true
	}
	if text, err := os.ReadFile(path); err != nil || !bytes.Equal(text, c.text) {
		return false
	}
	c.info = info
	d.contents[name] = *c
	return true
}

// write replaces a file. It is called with files locked.
func (d *Dir) write(name string, text []byte) error {
	d.contents[name] = content{text: text}
	return d.within(func(root *os.Root) error { return d.put(root, name, text) })
}

func (d *Dir) put(root *os.Root, name string, text []byte) error {
	info, err := d.fsync.replace(root, name, text)
	if err != nil {
		return err
	}
	d.contents[name] = content{text, info}
	if d.free {
		return nil
	}
	return d.Verify() // else the file is in a directory that nobody will look into
}

// within calls do with a handle on the directory, which is made if need be.
func (d *Dir) within(do func(*os.Root) error) error {
	if !d.free {
		if err := d.Verify(); err != nil {
			if err := d.take(); err != nil {
				return err
			}
		}
		return do(d.held.root)
	}
	if err := d.fsync.MakeDir(d.path); err != nil {
		return err
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return err
	}
	defer root.Close()
	return do(root)
}

// hold makes and locks a directory. If its lock file is the one that old has locked, as in a directory of hard links, or after a
// Verify that failed for a moment, old and the new holding share the lock.
func (fsync Fsync) hold(path string, old *holding) (*holding, error) {
	if err := fsync.MakeDir(path); err != nil {
		return nil, fmt.Errorf("statefile: lock: %w", err)
	}
	name := filepath.Join(path, lockName)
	h := &holding{lock: flock.New(name, flock.SetPermissions(0o600))}
	if info, err := os.Stat(name); err == nil && old != nil && os.SameFile(info, old.lockInfo) {
		h.lock = old.lock
	}
	switch ours, err := h.lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("statefile: lock: %w", err)
	case !ours:
		return nil, fmt.Errorf("statefile: lock %s: %w", path, ErrLocked)
	}
	if err := h.open(path); err != nil {
		h.release(old)
		return nil, fmt.Errorf("statefile: lock: %w", err)
	}
	return h, nil
}

// open opens the directory and makes sure that the locked file is in it: both were found by their path, one after the other.
func (h *holding) open(path string) (err error) {
	if h.root, err = os.OpenRoot(path); err != nil {
		return err
	}
	if h.dirInfo, err = h.root.Stat("."); err != nil {
		return err
	}
	if h.lockInfo, err = h.lock.Stat(); err != nil {
		return err
	}
	there, err := h.root.Stat(lockName)
	if err == nil && !os.SameFile(there, h.lockInfo) {
		err = ErrReplaced
	}
	return err
}

// release closes the directory, and gives back its lock unless other holds it too.
func (h *holding) release(other *holding) {
	if h.root != nil {
		_ = h.root.Close()
	}
	if other == nil || other.lock != h.lock {
		_ = h.lock.Close()
	}
}

// removeUnfinished removes what a process that was killed was writing.
func (h *holding) removeUnfinished() {
	dir, err := h.root.Open(".")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if strings.Contains(name, ".json"+unfinished) {
			_ = h.root.Remove(name)
		}
	}
}
