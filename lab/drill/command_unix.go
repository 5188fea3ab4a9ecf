//go:build unix

package drill

import (
	"fmt"
	"os/exec"
	"syscall"
)

// waiting is the shell's own part: it waits for the line's end although SIGTERM comes, and then ends as the line did.
const waiting = "trap : TERM\n(%s\n) &\nc=$!; wait $c; s=$?\nwhile kill -0 $c 2>/dev/null; do wait $c; s=$?; done\nexit $s"

// shell prepares a line in a process group of its own.
func shell(line string) *exec.Cmd {
	c := exec.Command("sh", "-c", fmt.Sprintf(waiting, line))
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// end ends the whole group.
func end(c *exec.Cmd, now bool) {
	signal := syscall.SIGTERM
	if now {
		signal = syscall.SIGKILL
	}
	_ = syscall.Kill(-c.Process.Pid, signal)
}

// lives tells whether there is anything left of the group. An orphan that has ended stays in it until the system's first process
// takes notice, which in a container may be never.
func lives(c *exec.Cmd) bool {
	return syscall.Kill(-c.Process.Pid, 0) == nil && !allEnded(c.Process.Pid)
}
