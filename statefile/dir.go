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
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"giantlizard.example/failover/settings"
)

var (
	// ErrLocked means that another process owns the directory.
	ErrLocked = errors.New("another process uses it")
	// ErrReplaced means that the path no longer leads to the directory that this process has
	// locked: the directory or its lock file was removed, renamed or replaced.
	ErrReplaced = errors.New("the directory was removed, replaced or made inaccessible")
)

const lockName = "lock"

// RepairInterval is how often the owner of a Dir should call Repair.
const RepairInterval = 500 * time.Millisecond

// A Dir is a directory of small files that one process at a time owns, by a lock on a file in it.
// The process reads and writes through a handle on the directory, so it does not touch a directory
// that somebody has put in its place. All methods may be called from any goroutine.
type Dir struct {
	path     string
	fsync    Fsync
	accept   func() error
	warn     func(error)
	unlocked bool // At has made this Dir: the directory is used without a lock

	held       atomic.Pointer[holding] // nil until the directory is acquired, and after Close
	generation atomic.Int64

	files    sync.Mutex         // held while the directory is acquired or a file is written; guards the fields below
	contents map[string]content // what each file should hold, by name
	folder   *folder            // nil means that LockFolder has locked none
	warned   bool               // the last Repair failed
	closed   bool
	refused  error     // the last error of accept
	retryAt  time.Time // accept is not called again before this time
}

// A holding is a directory that this process has locked.
type holding struct {
	root     *os.Root
	lock     *flock.Flock
	dirInfo  fs.FileInfo
	lockInfo fs.FileInfo
}

// A content is what a file should hold.
type content struct {
	text []byte
	info fs.FileInfo // identity of the file that holds text; nil means that no file does yet
}

// NewDir returns a Dir that is not acquired yet. A program that may change its working directory gives an
// absolute path. Each time that the directory was locked, accept decides whether it may be used; nil
// accepts every directory. warn receives what Repair finds; it may be nil. Neither may call the Dir.
func NewDir(path string, accept func() error, warn func(error)) *Dir {
	settings.Default(&accept, func() error { return nil })
	settings.Default(&warn, func(error) {})
	return &Dir{path: path, fsync: system, accept: accept, warn: warn, contents: map[string]content{}}
}

// Path returns the path of the directory.
func (d *Dir) Path() string { return d.path }

// File returns a file in the directory.
func (d *Dir) File(name string) File { return File{d, name} }

// Acquire makes and locks the directory, unless this process owns it already, and removes the
// unfinished files of a process that was killed. If the path led to another directory before,
// Acquire writes again the files that were loaded or saved there. The error is ErrLocked if another
// process owns the directory, or what accept returned; any other error means that the directory
// cannot be made or locked.
func (d *Dir) Acquire() error {
	d.files.Lock()
	defer d.files.Unlock()
	return d.acquire()
}

func (d *Dir) acquire() error {
	switch {
	case d.closed:
		return fmt.Errorf("statefile: %s: %w", d.path, fs.ErrClosed)
	case d.Verify() == nil:
		return nil
	case time.Now().Before(d.retryAt):
		return d.refused
	}
	old := d.held.Load()
	h, err := d.fsync.hold(d.path, old)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := d.accept(); err != nil {
		h.release(old)
		d.refused, d.retryAt = err, time.Now().Add(10*time.Since(begun)) // accept may read everything that is pending
		return err
	}
	h.removeUnfinished()
	d.generation.Add(1) // first, so that nobody sees the new directory with the old number
	d.held.Store(h)
	if old == nil {
		return nil
	}
	old.release(h)
	return d.restore()
}

// Generation returns how often the directory was acquired. If the result changes, another process may
// have used the directory meanwhile.
func (d *Dir) Generation() int { return int(d.generation.Load()) }

// Verify returns nil if the path leads to the directory that this process has locked. Otherwise the
// error wraps ErrReplaced, or says that the process has not locked the directory.
func (d *Dir) Verify() error {
	h := d.held.Load()
	if h == nil {
		return fmt.Errorf("statefile: %s: the directory is not locked", d.path)
	}
	for path, want := range map[string]fs.FileInfo{d.path: h.dirInfo, filepath.Join(d.path, lockName): h.lockInfo} {
		switch info, err := os.Stat(path); {
		case err != nil:
			return fmt.Errorf("statefile: %w: %w", ErrReplaced, err)
		case !os.SameFile(info, want):
			return fmt.Errorf("statefile: %w: %s is a different file or directory now", ErrReplaced, path)
		}
	}
	return nil
}

// Repair acquires the directory again if it was removed or replaced, and writes again the files that
// were removed or replaced. It warns once when this fails, and once when it succeeds after a failure.
func (d *Dir) Repair() {
	d.files.Lock()
	defer d.files.Unlock()
	replaced := d.Verify() != nil
	err := d.acquire()
	if err == nil {
		err = d.restore()
	}
	switch {
	case err != nil && d.warned:
	case err != nil && d.Verify() == nil:
		d.warn(fmt.Errorf("statefile: files in %s cannot be written: %w; make room, or make the directory writable",
			d.path, err))
	case err != nil:
		d.warn(fmt.Errorf("statefile: %s cannot be used: %w; nothing is accepted there until it can be made and locked",
			d.path, err))
	case replaced:
		d.warn(fmt.Errorf("statefile: %s was made and locked again, with the files that belong there", d.path))
	case d.warned:
		d.warn(fmt.Errorf("statefile: %s can be used again, with the files that belong there", d.path))
	}
	d.warned = err != nil
}

// Close tries a last time to write the files that are missing, and releases the directory. Nothing is
// written after that.
func (d *Dir) Close() {
	d.files.Lock()
	defer d.files.Unlock()
	if h := d.held.Load(); h != nil {
		if err := errors.Join(d.acquire(), d.restore()); err != nil && !d.warned {
			d.warn(err)
		}
		d.held.Swap(nil).release(nil)
	}
	d.folder.release()
	d.folder, d.closed = nil, true
}

// restore writes each file whose content is not at the path. The caller holds the lock of files.
func (d *Dir) restore() error {
	var errs []error
	for name, c := range d.contents {
		if !d.isThere(name, c) {
			errs = append(errs, d.replace(d.held.Load().root, name, c.text))
		}
	}
	return errors.Join(errs...)
}

// isThere reports whether the file at the path holds the content c, and remembers the identity of the file.
func (d *Dir) isThere(name string, c content) bool {
	path := filepath.Join(d.path, name)
	if there, err := os.Stat(path); err == nil && c.info != nil && os.SameFile(there, c.info) &&
		there.Size() == c.info.Size() && there.ModTime().Equal(c.info.ModTime()) {
		return true
	}
	text, info, err := read(path)
	if err != nil || !bytes.Equal(text, c.text) {
		return false
	}
	d.contents[name] = content{c.text, info}
	return true
}

// write replaces a file. The caller holds the lock of files.
func (d *Dir) write(name string, text []byte) error {
	d.contents[name] = content{text: text}
	return d.withRoot(func(root *os.Root) error { return d.replace(root, name, text) })
}

func (d *Dir) replace(root *os.Root, name string, text []byte) error {
	info, err := d.fsync.replace(root, name, text)
	if err != nil {
		return err
	}
	d.contents[name] = content{text, info}
	if d.unlocked {
		return nil
	}
	return d.Verify() // fails if the file was written into a directory that the path does not lead to
}

// withRoot calls do with a handle on the directory. It makes the directory if it is missing.
func (d *Dir) withRoot(do func(*os.Root) error) error {
	if !d.unlocked {
		if err := d.acquire(); err != nil {
			return err
		}
		return do(d.held.Load().root)
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

// hold makes and locks a directory. If its lock file is the file that old has locked, both holdings
// share the lock. This happens if the new directory has hard links to the old files, and if Verify
// has failed only for a moment.
func (sync Fsync) hold(path string, old *holding) (*holding, error) {
	if err := sync.MakeDir(path); err != nil {
		return nil, fmt.Errorf("statefile: lock: %w", err)
	}
	name := filepath.Join(path, lockName)
	h := &holding{lock: flock.New(name, flock.SetPermissions(0o600))}
	switch info, err := os.Stat(name); {
	case err == nil && !info.Mode().IsRegular(): // to open a named pipe could take for ever
		return nil, fmt.Errorf("statefile: lock: %s is not a regular file; remove it", name)
	case err == nil && old != nil && os.SameFile(info, old.lockInfo):
		h.lock = old.lock
	}
	switch locked, err := h.lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("statefile: lock: %w", err)
	case !locked:
		return nil, fmt.Errorf("statefile: lock %s: %w", path, ErrLocked)
	}
	if err := h.open(path); err != nil {
		h.release(old)
		return nil, fmt.Errorf("statefile: lock: %w", err)
	}
	return h, nil
}

// open opens the directory, and returns ErrReplaced if the locked file is not in it: the path may
// lead to another directory since the file was locked.
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

// release closes the directory, and its lock unless another holding shares it.
func (h *holding) release(other *holding) {
	if h.root != nil {
		_ = h.root.Close()
	}
	if other == nil || other.lock != h.lock {
		_ = h.lock.Close()
	}
}

// removeUnfinished removes the files that a killed process did not finish.
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
