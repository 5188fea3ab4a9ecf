package statefile

import (
	"errors"
	"syscall"
)

// Advice returns what an operator should do about an error of the file system. This is the usual
// advice, unless the process or the system has too many open files, which more room on the disk
// does not help.
func Advice(err error, usual string) string {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return "let the process open more files (ulimit -n, or LimitNOFILE= of a systemd service)"
	}
	return usual
}
