package drill

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// resident is how much memory the processes of a group have had resident at most, each by itself, in bytes. The kernel's own
// account of a child begins with the memory of its parent.
func resident(group int) (sum int64) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		var state string
		var parent, its int
		if _, err := fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent, &its); err != nil || its != group {
			continue
		}
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "status"))
		if _, peak, ok := bytes.Cut(status, []byte("VmHWM:")); ok {
			kB, _, _ := bytes.Cut(peak, []byte("kB"))
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(kB)), 10, 64)
			sum += n << 10
		}
	}
	return sum
}
