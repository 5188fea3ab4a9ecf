package statefile

import (
	"os"
	"runtime"
)

// An Fsync makes a file's bytes, or a directory's names, outlive a power cut. It is (*os.File).Sync, but in tests that look on.
type Fsync func(*os.File) error

var system Fsync = (*os.File).Sync

// Dir syncs a directory's names. Windows cannot, and does so by itself.
func (sync Fsync) Dir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return sync(d)
}

// names syncs the names in the directory that root is a handle on.
func (sync Fsync) names(root *os.Root) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return sync(d)
}
