package drill

import (
	"fmt"
	"os"
	"os/exec"
)

func shell(line string) *exec.Cmd { return exec.Command("cmd", "/C", line) }

// A watchdog does nothing on Windows, where a client outlives a drill that is killed.
type watchdog struct{}

func start(c *exec.Cmd) (*watchdog, error) { return nil, c.Start() }

func (*watchdog) drop() {}

// endGroup kills the process, because Windows has no SIGTERM.
func endGroup(c *exec.Cmd, _ bool) { _ = c.Process.Kill() }

func howEnded(s *os.ProcessState) string { return fmt.Sprintf("with exit code %d", s.ExitCode()) }

func isAlive(*exec.Cmd) bool { return false }
