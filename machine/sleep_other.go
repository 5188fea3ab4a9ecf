//go:build !linux

package machine

import "time"

// asleep is not known on this system: if a wall clock moves ahead, it was set or the machine has slept.
func asleep() (total time.Duration, known bool) { return 0, false }

// bootID is not known on this system.
func bootID() string { return "" }
