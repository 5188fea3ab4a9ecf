//go:build unix

package drill

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// waiting is the shell's own part: it waits for the line's end although SIGTERM comes, and then ends as the line did. The group ends
// with the drill, also one that is killed: then descriptor 3, a pipe of which the drill has the other end, comes to its end.
const waiting = `trap : TERM
(trap '' TERM; read -r _ <&3; kill -s KILL 0) &
w=$!
exec 3<&-
(
%s
) &
c=$!; wait $c; s=$?
while kill -0 $c 2>/dev/null; do wait $c; s=$?; done
kill -s KILL $w; wait $w 2>/dev/null
exit $s`

// begin begins a line in a process group of its own, which is let go when leash is closed.
func begin(c *exec.Cmd) (leash io.Closer, err error) {
	held, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer held.Close()
	c.ExtraFiles = []*os.File{held}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	return ours, nil
}

func shell(line string) *exec.Cmd { return exec.Command("sh", "-c", fmt.Sprintf(waiting, line)) }

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
