package statefile

import (
	"errors"
	"syscall"
)

// Advice returns what an operator should do about an error of the file system. It returns usual, unless
// the process or the system has too many open files, or a file would be too large: then more space on the disk
// would not help.
func Advice(err error, usual string) string {
	if errors.Is(err, errTooLarge) {
		return "let the program report, and the cloud set, fewer or smaller properties"
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return "let the process open more files (ulimit -n, or LimitNOFILE= of a systemd service)"
	}
	return usual
}
