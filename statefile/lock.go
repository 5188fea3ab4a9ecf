package statefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// ErrLocked says that another process has the directory.
var ErrLocked = errors.New("another process uses it")

// Lock takes a directory, which it makes if need be, for this process, and clears it of what a process that was killed was
// writing; unlock gives it back, as does the process's end. When another process has it the error is ErrLocked. Any other error
// means that nothing can be written there.
func Lock(dir string) (unlock func(), err error) { return system.lock(dir) }

func (sync Fsync) lock(dir string) (unlock func(), err error) {
	if err := sync.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("statefile: lock: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	switch ours, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("statefile: lock: %w", err)
	case !ours:
		return nil, fmt.Errorf("statefile: lock %s: %w", dir, ErrLocked)
	}
	left, _ := os.ReadDir(dir) // filepath.Glob would take dir for a pattern too, which other directories may match
	for _, e := range left {
		if ours, _ := filepath.Match("*.json"+unfinished, e.Name()); ours {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return func() { _ = lock.Close() }, nil
}
