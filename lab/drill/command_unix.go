//go:build unix

package drill

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// waiting is the shell's part: it starts the line once descriptor 3 has a line to read, waits for its end also when SIGTERM
// arrives, and exits with its status.
const waiting = `read -r _ <&3 || exit
exec 3<&-
trap : TERM
(
%s
) &
c=$!; wait $c; s=$?
while kill -0 $c 2>/dev/null; do wait $c; s=$?; done
exit $s`

// shell prepares a line in a process group of its own.
func shell(line string) *exec.Cmd {
	c := exec.Command("sh", "-c", fmt.Sprintf(waiting, line))
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// A leash is a process that kills the client's process group when the drill has ended: its standard input then reaches its end.
// It is in a process group of its own, so the client cannot see it.
type leash struct{ watcher *exec.Cmd }

// begin starts a client and its leash. The client's line runs once the leash is there.
func begin(c *exec.Cmd) (*leash, error) {
	wait, leave, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer leave.Close()
	defer wait.Close()
	c.ExtraFiles = []*os.File{wait} // descriptor 3
	if err := c.Start(); err != nil {
		return nil, err
	}
	watcher := exec.Command("sh", "-c", `read -r _; kill -s KILL -- "-$1"`, "sh", strconv.Itoa(c.Process.Pid))
	watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err = watcher.StdinPipe(); err == nil { // nothing is written, and Wait closes it
		err = watcher.Start()
	}
	if err == nil {
		_, err = leave.WriteString("\n")
	}
	if err != nil {
		end(c, true)
		return nil, errors.Join(err, c.Wait())
	}
	return &leash{watcher}, nil
}

// drop ends the leash and leaves the client alone.
func (l *leash) drop() {
	_ = l.watcher.Process.Kill()
	_ = l.watcher.Wait()
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
