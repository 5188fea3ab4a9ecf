//go:build !linux

package machine

import "time"

// asleep is not known here: a wall clock that moves ahead may have been set, or the machine has slept.
func asleep() (total time.Duration, known bool) { return 0, false }

// bootID is not known here.
func bootID() string { return "" }
