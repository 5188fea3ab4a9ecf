package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
)

// A folder is a directory that LockFolder has locked.
type folder struct {
	lock *flock.Flock
	info fs.FileInfo
}

// LockFolder locks a folder of the directory too, until another folder is locked or d is closed. The lock of d is
// not enough for a folder: symbolic links may lead two state directories to one. The error is ErrLocked
// if another process uses the folder. Where the file system cannot lock directories, LockFolder does
// nothing.
func (d *Dir) LockFolder(root *os.Root) error {
	d.files.Lock()
	defer d.files.Unlock()
	if d.closed {
		return fmt.Errorf("statefile: %s: %w", d.path, fs.ErrClosed)
	}
	want, err := root.Stat(".")
	if err != nil {
		return fmt.Errorf("statefile: lock: %w", err)
	}
	if d.folder != nil && os.SameFile(d.folder.info, want) {
		return nil
	}
	path := filepath.Clean(root.Name())
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	switch locked, err := lock.TryLock(); {
	case errors.As(err, new(*fs.PathError)) && !errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("statefile: lock: %w", err)
	case err != nil: // EISDIR means that the lock needs a file that can be written, as on NFS
		return nil
	case !locked:
		return fmt.Errorf("statefile: lock %s: %w", path, ErrLocked)
	}
	info, err := lock.Stat()
	if err == nil && !os.SameFile(info, want) {
		err = ErrReplaced
	}
	if err != nil {
		return errors.Join(fmt.Errorf("statefile: lock %s: %w", path, err), lock.Close())
	}
	d.folder.release()
	d.folder = &folder{lock, info}
	return nil
}

func (f *folder) release() {
	if f != nil {
		_ = f.lock.Close()
	}
}
