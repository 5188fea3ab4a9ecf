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

// clientScript runs the command once descriptor 3 has a line to read. It waits for the end of the
// command even when SIGTERM arrives, and exits with its status.
const clientScript = `read -r _ <&3 || exit
exec 3<&-
trap : TERM
(
%s
) &
c=$!; wait $c; s=$?
while kill -0 $c 2>/dev/null; do wait $c; s=$?; done
exit $s`

// shell prepares a command in a process group of its own.
func shell(line string) *exec.Cmd {
	c := exec.Command("sh", "-c", fmt.Sprintf(clientScript, line))
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// A watchdog is a process that kills the client's process group when the process of the drill has
// ended: the end of its standard input tells it so. It has a process group of its own, so that the
// client cannot see it.
type watchdog struct{ watcher *exec.Cmd }

// start starts a client and its watchdog. The client's command runs once the watchdog runs.
func start(c *exec.Cmd) (*watchdog, error) {
	wait, leave, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer leave.Close()
	defer wait.Close()
	c.ExtraFiles = []*os.File{wait} // wait becomes descriptor 3 of the client
	if err := c.Start(); err != nil {
		return nil, err
	}
	watcher := exec.Command("sh", "-c", `read -r _; kill -s KILL -- "-$1"`, "sh", strconv.Itoa(c.Process.Pid))
	watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err = watcher.StdinPipe(); err == nil { // nothing is written to the pipe, and Wait closes it
		err = watcher.Start()
	}
	if err == nil {
		_, err = leave.WriteString("\n")
	}
	if err != nil {
		endGroup(c, true)
		return nil, errors.Join(err, c.Wait())
	}
	return &watchdog{watcher}, nil
}

// drop ends the watchdog, which then does not kill the client.
func (l *watchdog) drop() {
	_ = l.watcher.Process.Kill()
	_ = l.watcher.Wait()
}

// endGroup sends SIGTERM, or SIGKILL if now is true, to the process group of a command.
func endGroup(c *exec.Cmd, now bool) {
	signal := syscall.SIGTERM
	if now {
		signal = syscall.SIGKILL
	}
	_ = syscall.Kill(-c.Process.Pid, signal)
}

// howEnded says how a command has ended. Its shell turns the signal that has ended the client into an exit code, which
// cannot be told from an exit code of the client.
func howEnded(s *os.ProcessState) string {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Sprintf("by signal %d (%s)", status.Signal(), status.Signal())
	}
	text := fmt.Sprintf("with exit code %d", s.ExitCode())
	if signal := syscall.Signal(s.ExitCode() - 128); signal > 0 && signal < 64 {
		text += fmt.Sprintf(", which means signal %d (%s)", signal, signal)
	}
	return text
}

// isAlive reports whether a process of the group is alive. An orphan that has ended stays in the
// group until the first process of the system waits for it, which may never happen in a container.
func isAlive(c *exec.Cmd) bool {
	return syscall.Kill(-c.Process.Pid, 0) == nil && !allEnded(c.Process.Pid)
}
