package control_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
)

// A consumer is a running example.
type consumer struct {
	world
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// An example is a program that reads messages and keeps its cursor in a file.
type example struct {
	world
	command []string
	dir     string // it has the files of the cursor and of the control API
}

// prepare returns a command that runs the example.
func (e example) prepare() *exec.Cmd {
	cmd := exec.CommandContext(e.Context(), e.command[0], e.command[1:]...)
	cmd.Dir = e.dir
	cmd.Env = append(os.Environ(), "FAILOVER_CONTROL_FILE="+filepath.Join(e.dir, "control.json"))
	return cmd
}

// start starts the example.
func (e example) start() *consumer {
	e.Helper()
	c := &consumer{world: e.world, cmd: e.prepare()}
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		e.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	return c
}

// next returns the body of the next message that the consumer has processed.
func (c *consumer) next() string {
	c.Helper()
	stop := time.AfterFunc(30*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer stop.Stop()
	if !c.lines.Scan() {
		c.Fatalf("%v has ended: %v", c.cmd.Args, c.cmd.Wait())
	}
	return c.lines.Text()
}

// kill kills the consumer and returns the lines that were not read yet.
func (c *consumer) kill() (rest []string) {
	c.Helper()
	_ = c.cmd.Process.Kill()
	for c.lines.Scan() {
		rest = append(rest, c.lines.Text())
	}
	_ = c.cmd.Wait() // it was killed
	return rest
}

// newExample skips the test if the program that runs the file is not installed.
func newExample(t *testing.T, program, file string) example {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip("this needs ", program, ": ", err)
	}
	script, err := filepath.Abs(filepath.Join("examples", file))
	if err != nil {
		t.Fatal(err)
	}
	e := example{onSockets(t), []string{path, script}, t.TempDir()}
	if err := e.server.WriteFile(filepath.Join(e.dir, "control.json")); err != nil {
		t.Fatal(err)
	}
	return e
}

// missesNothing kills the example again and again, each time while the device goes on sending.
func (e example) missesNothing() {
	e.Helper()
	g, sent, expected := e.newTestDevice(), 0, 0
	send := func(n int) {
		for range n {
			g.send("", fmt.Sprintf(`{"n":%d,"text":"a\nb\u2028é"}`, sent))
			sent++
		}
	}
	// check wants the next message, or once more the last one before a kill.
	check := func(line string, mayRepeat bool) {
		e.Helper()
		body := func(n int) string { return fmt.Sprintf(`{"n":%d,`, n) }
		line = strings.ReplaceAll(line, ": ", ":")
		switch {
		case strings.Contains(line, body(expected)):
			expected++
		case mayRepeat && strings.Contains(line, body(expected-1)):
		default:
			e.Fatalf("%v: %s instead of message %d", e.command, line, expected)
		}
	}
	for round := range 2 {
		send(40)
		c := e.start()
		for first := true; expected < sent-20; first = false {
			check(c.next(), round > 0 && first)
		}
		for _, line := range c.kill() {
			check(line, false)
		}
		send(10)
	}
	c := e.start()
	for first := true; expected < sent; first = false {
		check(c.next(), first)
	}
	c.kill()
}

// refusesACursorOfAnotherRun starts the example with such a cursor.
func (e example) refusesACursorOfAnotherRun() {
	e.Helper()
	if err := os.WriteFile(filepath.Join(e.dir, "messages.cursor"), []byte("aaaaaaaa-1"), 0o600); err != nil {
		e.Fatal(err)
	}
	text, err := e.prepare().CombinedOutput()
	var failed *exec.ExitError
	if !errors.As(err, &failed) || failed.ExitCode() != 1 || !strings.Contains(string(text), "an earlier start") {
		e.Errorf("%v: %v, %s", e.command, err, text)
	}
}

// endsWithTheServer closes the server while the example waits for messages.
func (e example) endsWithTheServer() {
	e.Helper()
	_ = os.Remove(filepath.Join(e.dir, "messages.cursor"))
	cmd := e.prepare()
	var text bytes.Buffer
	cmd.Stderr = &text
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		e.Fatal(err)
	}
	defer time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		e.Fatal(err)
	}
	if err := e.server.Close(); err != nil {
		e.Error(err)
	}
	_, _ = io.Copy(io.Discard, out)
	var failed *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &failed) || failed.ExitCode() != 1 ||
		!strings.HasPrefix(text.String(), "the emulator has ended, or cannot be reached") {
		e.Errorf("%v: %v, %s", e.command, err, &text)
	}
}

func TestTheExampleInPythonMissesNothing(t *testing.T) {
	slow.Test(t)
	e := newExample(t, "python3", "messages.py")
	e.missesNothing()
	e.refusesACursorOfAnotherRun()
	e.endsWithTheServer()
}

func TestTheExampleInNodeMissesNothing(t *testing.T) {
	slow.Test(t)
	e := newExample(t, "node", "messages.js")
	e.missesNothing()
	e.refusesACursorOfAnotherRun()
	e.endsWithTheServer()
}
