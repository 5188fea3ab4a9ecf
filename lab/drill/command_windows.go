package drill

import "os/exec"

func shell(line string) *exec.Cmd { return exec.Command("cmd", "/C", line) }

// A leash does nothing on Windows: a client outlives a drill that is killed.
type leash struct{}

func begin(c *exec.Cmd) (*leash, error) { return nil, c.Start() }

func (*leash) drop() {}

// end knows no polite way.
func end(c *exec.Cmd, _ bool) { _ = c.Process.Kill() }

func lives(*exec.Cmd) bool { return false }
