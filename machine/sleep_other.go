//go:build !linux

package machine

import "time"

// asleep reports that this system does not say how long the machine has slept. When the wall clock moves
// ahead, somebody may have set it, or the machine may have slept.
func asleep() (total time.Duration, known bool) { return 0, false }

// bootID returns "", because this system does not name its boots.
func bootID() string { return "" }
