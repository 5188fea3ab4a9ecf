package statefile

import (
	"errors"
	"syscall"
)

// Advice is what an operator should do about an error of the file system: usual, unless the process may open no more files,
// which has nothing to do with the disk.
func Advice(err error, usual string) string {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return "let the process open more files (ulimit -n, or LimitNOFILE= of a systemd service)"
	}
	return usual
}
