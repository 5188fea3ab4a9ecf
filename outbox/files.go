package outbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"

	"giantlizard.example/failover/statefile"
)

// Files are the directory in which a Log keeps its files. A test implements Files to simulate a power cut.
type Files interface {
	// List returns the names of the files, in any order. If the directory does not exist, List returns
	// no names and no error.
	List() ([]string, error)
	// Create creates a file for writing, and the directory if it does not exist. The error is
	// fs.ErrExist if the file exists.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Rename gives a file another name.
	Rename(from, to string) error
	// Remove deletes a file.
	Remove(name string) error
	// Sync makes the names that were created, changed or removed so far outlive a power cut.
	Sync() error
	// Verify returns nil if the directory's path still leads to this directory, if its file with the
	// name is the one that info identifies and has at least size bytes, and if this process holds the
	// lock. An empty name leaves out the file. The error is statefile.ErrReplaced if the directory,
	// the file or the lock was removed or replaced.
	Verify(name string, info fs.FileInfo, size int64) error
	// Retake returns the directory to which the path leads now, which it creates and locks if need be.
	Retake() (Files, error)
	// Close closes the directory. Open files stay open.
	Close() error
}

// A File is written at its end and read anywhere. What was written outlives a power cut once Sync has
// returned nil.
type File interface {
	io.Writer
	io.ReaderAt
	Info() (fs.FileInfo, error) // the identity of the file, and its size in bytes
	Sync() error
	Close() error
}

// A directory implements Files by a directory of the operating system. Before the directory exists or
// is anchored, its files are opened by their paths. After that they are opened through a handle on the
// directory, which still leads to the same directory when somebody renames or replaces it. An owner locks
// the directory itself too, because its path may be a symbolic link.
type directory struct {
	path       string
	owner      *statefile.Dir // nil means that no lock is needed
	generation int            // owner's generation when this value was made; a later one means a lost lock
	fsync      statefile.Fsync
	root       atomic.Pointer[os.Root]
}

// SystemFiles returns the Files of a directory of the operating system, without a lock.
func SystemFiles(path string) Files { return newDirectory(path, nil) }

func newDirectory(path string, owner *statefile.Dir) *directory {
	d := &directory{path: path, owner: owner, fsync: (*os.File).Sync}
	if owner != nil {
		d.generation = owner.Generation()
	}
	return d
}

// anchor opens a handle on the directory, and locks it, if the directory exists.
func (d *directory) anchor() error {
	root, err := os.OpenRoot(d.path + string(filepath.Separator)) // so that a named pipe is an error at once
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil // without a directory there is nothing to keep open; the first Put makes it
	}
	if err != nil {
		return err
	}
	if d.owner != nil {
		if err := d.owner.LockFolder(root); err != nil {
			return errors.Join(err, root.Close())
		}
	}
	d.root.Store(root)
	return nil
}

type file struct {
	*os.File
	fsync statefile.Fsync
}

func (f file) Sync() error                { return f.fsync(f.File) }
func (f file) Info() (fs.FileInfo, error) { return f.Stat() }

func (d *directory) List() ([]string, error) {
	f, err := d.open(".", os.O_RDONLY|syscall.O_NONBLOCK)
	var entries []fs.DirEntry
	if err == nil {
		defer f.Close()
		entries, err = f.ReadDir(-1)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d *directory) open(name string, flags int) (file, error) {
	if root := d.root.Load(); root != nil {
		f, err := root.OpenFile(name, flags, 0o600)
		return file{f, d.fsync}, err
	}
	f, err := os.OpenFile(filepath.Join(d.path, name), flags, 0o600)
	return file{f, d.fsync}, err
}

// Create returns ErrReplaced if the directory did not exist when it was listed, and has files now, which another
// process has written or which are on a disk that was mounted late.
func (d *directory) Create(name string) (File, error) {
	if d.root.Load() == nil {
		if err := d.fsync.MakeDir(d.path); err != nil {
			return nil, err
		}
		if err := d.anchor(); err != nil {
			return nil, err
		}
		if names, err := d.List(); err != nil || len(names) > 0 {
			return nil, errors.Join(err, d.Close(), fmt.Errorf("%w: it has files now", statefile.ErrReplaced))
		}
	}
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND)
}

// Open does not wait for the other end of a named pipe that somebody has put in the place of a file.
func (d *directory) Open(name string) (File, error) {
	f, err := d.open(name, os.O_RDONLY|syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is not a regular file: %w", name, errors.Join(err, fs.ErrNotExist))
	}
	return f, nil
}

func (d *directory) Rename(from, to string) error {
	if root := d.root.Load(); root != nil {
		return root.Rename(from, to)
	}
	return os.Rename(filepath.Join(d.path, from), filepath.Join(d.path, to))
}

func (d *directory) Remove(name string) error {
	if root := d.root.Load(); root != nil {
		return root.Remove(name)
	}
	return os.Remove(filepath.Join(d.path, name))
}

// Sync syncs the directory's parent too: the directory may be new.
func (d *directory) Sync() error {
	for _, path := range []string{d.path, filepath.Dir(d.path)} {
		if err := d.fsync.Dir(path); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) Verify(name string, info fs.FileInfo, size int64) error {
	if d.owner != nil {
		if err := d.owner.Verify(); err != nil {
			return err
		}
		if d.owner.Generation() != d.generation {
			return fmt.Errorf("%w: the directory was not locked for a time", statefile.ErrReplaced)
		}
	}
	path, root := filepath.Join(d.path, name), d.root.Load()
	if name == "" && root == nil {
		return nil // the directory was not made yet
	}
	there, err := os.Stat(path)
	if err == nil && name == "" {
		info, err = root.Stat(".")
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", statefile.ErrReplaced, err)
	case info == nil || !os.SameFile(there, info):
		return fmt.Errorf("%w: %s is a different file or directory now", statefile.ErrReplaced, path)
	case there.Size() < size:
		return fmt.Errorf("%w: of the %d bytes in %s, %d are left", statefile.ErrReplaced, size, path, there.Size())
	}
	return nil
}

func (d *directory) Retake() (Files, error) {
	if d.owner != nil {
		if err := d.owner.Acquire(); err != nil {
			return nil, err
		}
	}
	fresh := newDirectory(d.path, d.owner)
	fresh.fsync = d.fsync
	err := d.fsync.MakeDir(d.path)
	if err == nil {
		err = fresh.anchor()
	}
	return fresh, err
}

func (d *directory) Close() error {
	if root := d.root.Swap(nil); root != nil {
		return root.Close()
	}
	return nil
}

const (
	page      = 4096     // bytes; readPages zeroes each page that the disk cannot read
	fileLimit = 64 << 20 // bytes that readFile reads at most; far more than any file of a log has
)

// readFile reads at most fileLimit bytes of a file into buffer, or into a larger buffer if need be. If
// the disk cannot read a page of the file, its bytes in b are zeros and whole is false.
func readFile(files Files, name string, buffer []byte) (b []byte, info fs.FileInfo, whole bool, err error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, nil, false, err
	}
	defer f.Close()
	info, err = f.Info()
	if err != nil {
		return nil, nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	b, whole, err = readPages(f, min(info.Size(), fileLimit), buffer)
	if err != nil {
		err = fmt.Errorf("read %s: %w", name, err)
	}
	return b, info, whole, err
}

// readPages reads the first size bytes of a file, or the whole file if it is shorter.
func readPages(f File, size int64, buffer []byte) (b []byte, whole bool, err error) {
	b = slices.Grow(buffer[:0], int(size))[:size]
	n, err := f.ReadAt(b, 0)
	if err == nil || errors.Is(err, io.EOF) {
		return b[:n], true, nil
	}
	if !errors.Is(err, syscall.EIO) {
		return nil, false, err
	}
	for at := 0; at < len(b); at += page {
		p := b[at:min(at+page, len(b))]
		n, err := f.ReadAt(p, int64(at))
		if err != nil && !errors.Is(err, io.EOF) {
			n = 0
		}
		clear(p[n:])
	}
	return b, false, nil
}
