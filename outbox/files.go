package outbox

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"giantlizard.example/failover/statefile"
)

// Files is the directory in which a Log keeps its files. It is a seam: behind it a test simulates a power cut.
type Files interface {
	// List is the names of the files there are, in any order. A directory that does not exist has none.
	List() ([]string, error)
	// Create makes a file that does not exist yet, to be written, and the directory if need be.
	Create(name string) (File, error)
	// Open opens a file to be read.
	Open(name string) (File, error)
	// Rename gives a file another name.
	Rename(from, to string) error
	// Remove deletes a file.
	Remove(name string) error
	// Sync makes the names that were created, changed or removed so far outlive a power cut.
	Sync() error
}

// A File is appended to and read anywhere. What was written outlives a power cut once Sync has returned nil.
type File interface {
	io.Writer
	io.ReaderAt
	Size() (int64, error)
	Sync() error
	Close() error
}

// directory is the operating system's files, each of which is synced by fsync.
type directory struct {
	dir   string
	fsync statefile.Fsync
}

func systemFiles(dir string) directory { return directory{dir, (*os.File).Sync} }

type file struct {
	*os.File
	fsync statefile.Fsync
}

func (f file) Sync() error { return f.fsync(f.File) }

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (d directory) path(name string) string { return filepath.Join(d.dir, name) }

func (d directory) List() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil // nothing could ever be put there
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d directory) Create(name string) (File, error) {
	if err := d.fsync.MakeDir(d.dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f, d.fsync}, nil
}

func (d directory) Open(name string) (File, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, err
	}
	return file{f, d.fsync}, nil
}

func (d directory) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }
func (d directory) Remove(name string) error     { return os.Remove(d.path(name)) }

// Sync syncs the directory's parent too: the directory may be new.
func (d directory) Sync() error {
	for _, path := range []string{d.dir, filepath.Dir(d.dir)} {
		if err := d.fsync.Dir(path); err != nil {
			return err
		}
	}
	return nil
}
