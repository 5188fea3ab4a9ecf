package drill

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
)

// processes yields the directory in /proc and the state of each process of a group.
func processes(group int) iter.Seq2[string, string] {
	return func(yield func(dir, state string) bool) {
		files, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, file := range files {
			stat, err := os.ReadFile(file)
			if err != nil {
				continue // the process has ended
			}
			var state string
			var parent, its int
			_, err = fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent, &its)
			if err == nil && its == group && !yield(filepath.Dir(file), state) {
				return
			}
		}
	}
}

// allEnded reports whether all processes of a group have ended. Zombies count as ended.
func allEnded(group int) bool {
	for _, state := range processes(group) {
		if state != "Z" && state != "X" {
			return false
		}
	}
	return true
}

// resident returns the sum of the maxima of the resident memory of a group's processes, in bytes.
// The kernel's own figure for a child includes the memory of its parent at the fork.
func resident(group int) (sum int64) {
	for dir := range processes(group) {
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		if _, peak, ok := bytes.Cut(status, []byte("VmHWM:")); ok {
			kB, _, _ := bytes.Cut(peak, []byte("kB"))
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(kB)), 10, 64)
			sum += n << 10
		}
	}
	return sum
}
