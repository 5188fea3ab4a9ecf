package machine

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// asleep returns how long the machine has slept since its boot: CLOCK_BOOTTIME counts the time asleep, and
// CLOCK_MONOTONIC does not.
func asleep() (total time.Duration, known bool) {
	for range 10 {
		before, err := read(unix.CLOCK_MONOTONIC)
		boot, err2 := read(unix.CLOCK_BOOTTIME)
		after, err3 := read(unix.CLOCK_MONOTONIC)
		if err != nil || err2 != nil || err3 != nil {
			return 0, false
		}
		if after-before < noise/2 {
			return boot - before, true
		}
	}
	return 0, false
}

func read(id int32) (time.Duration, error) {
	var at unix.Timespec
	err := unix.ClockGettime(id, &at)
	return time.Duration(at.Nano()), err
}

// bootID returns the ID that Linux gave to the current boot of the machine, or "" if the ID cannot be read.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
