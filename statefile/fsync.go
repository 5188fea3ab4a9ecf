package statefile

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// An Fsync makes the bytes of a file, or the names in a directory, outlive a power cut. It is
// (*os.File).Sync, except in tests that observe it.
type Fsync func(*os.File) error

var system Fsync = (*os.File).Sync

// Dir syncs the names in a directory. On Windows it syncs nothing, because Windows has no such call.
func (sync Fsync) Dir(path string) error {
	return sync.names(os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)) // the path may lead to a named pipe now
}

// names syncs the names in a directory that was opened, and closes it.
func (sync Fsync) names(dir *os.File, err error) error {
	if err != nil {
		return err
	}
	defer dir.Close()
	if runtime.GOOS == "windows" {
		return nil
	}
	return sync(dir)
}

// MakeDir makes a directory and its missing parents, accessible to their owner only, and syncs their names:
// what is in a directory outlives a power cut only if its name does. It leaves an existing
// directory as it is.
func (sync Fsync) MakeDir(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := sync.MakeDir(parent); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	_ = sync.Dir(parent) // fails if the process may not read parent; the system then syncs it in its own time
	return nil
}
