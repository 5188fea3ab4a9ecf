//go:build unix

package main_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/emulator"
)

// The tests run the command as a process, against an emulator in the test's process, over real sockets.

// binary is the command, and deviceAlone the same with -tags nolab.
var binary, deviceAlone string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	flag.Parse()
	_ = flag.Set("test.parallel", "8")  // these tests wait rather than work
	if signal.Ignored(syscall.SIGHUP) { // under nohup, which the processes of the tests would inherit
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	dir, err := os.MkdirTemp("", "failover-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary, deviceAlone = filepath.Join(dir, "failover"), filepath.Join(dir, "device")
	for _, args := range [][]string{{"build", "-o", binary, "."}, {"build", "-tags", "nolab", "-o", deviceAlone, "."}} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go %v: %v\n%s", args, err, out)
			return 1
		}
	}
	code := m.Run()
	if err := leftBehind(); err != nil {
		fmt.Fprintln(os.Stderr, "the tests have left something behind:", err)
		return 1
	}
	return code
}

// leftBehind looks for goroutines of the emulators in this process and for child processes.
func leftBehind() error {
	if err := goleak.Find(); err != nil {
		return err
	}
	switch pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); {
	case errors.Is(err, syscall.ECHILD):
		return nil
	case err != nil:
		return err
	case pid > 0:
		return fmt.Errorf("process %d has ended, and nobody has waited for it", pid)
	}
	return errors.New("a process still runs")
}

// waitTimeout bounds every wait. All take far less.
const waitTimeout = 30 * time.Second

// A process is a running command.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{}
}

// command prepares the binary. Its environment has only a home directory and env.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(binary, args...)
	c.Dir = t.TempDir()
	c.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, env...)
	return c
}

// inShell has a shell run a script, to which the command is "$0" "$@".
func inShell(c *exec.Cmd, script string) *exec.Cmd {
	shell := exec.Command("sh", append([]string{"-euc", script}, c.Args...)...)
	shell.Env, shell.Dir = c.Env, c.Dir
	return shell
}

// start starts a command, keeping the output that it sends nowhere else, and ends it with the test.
func start(t *testing.T, c *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: c, ended: make(chan struct{})}
	if c.Stdout == nil {
		c.Stdout = &p.stdout
	}
	if c.Stderr == nil {
		c.Stderr = &p.stderr
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait() // ProcessState tells
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-p.ended
	})
	return p
}

// device starts the sample device in a cloud.
func device(t *testing.T, cloud *emulator.Cloud, args ...string) *process {
	t.Helper()
	return start(t, command(t, deviceEnv(t, cloud), append([]string{"run"}, args...)...))
}

// deviceEnv returns the settings of a device, with a short interval between readings.
func deviceEnv(t *testing.T, cloud *emulator.Cloud) []string {
	t.Helper()
	return []string{
		"FAILOVER_PROVISIONING_HOST=" + cloud.DPSHost(), "FAILOVER_ID_SCOPE=" + cloud.IDScope(),
		"FAILOVER_DEVICE_ID=dev1", "FAILOVER_GROUP_KEY=" + cloud.GroupKey(), "FAILOVER_CA_FILE=" + caFile(t, cloud),
		"FAILOVER_STATE_DIR=" + t.TempDir(), "FAILOVER_TELEMETRY_INTERVAL=50ms", "FAILOVER_PROPERTY_INTERVAL=200ms",
		"FAILOVER_DRAIN_RATE=0", "FAILOVER_LOG_LEVEL=debug",
	}
}

func caFile(t *testing.T, cloud *emulator.Cloud) string {
	t.Helper()
	return file(t, "ca.pem", string(cloud.CAPEM()))
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(waitTimeout):
		p.t.Fatalf("%v does not end; its output:\n%s%s", p.cmd.Args, &p.stdout, &p.stderr)
	}
	return p.cmd.ProcessState.ExitCode()
}

// wantExit waits for the end with this code.
func (p *process) wantExit(code int) {
	p.t.Helper()
	if got := p.exit(); got != code {
		p.t.Errorf("%v: exit code %d, want %d; its output:\n%s%s", p.cmd.Args[1:], got, code, &p.stdout, &p.stderr)
	}
}

// terminate sends SIGTERM and wants this exit code within the close timeout of 5 s and a margin.
func (p *process) terminate(code int) {
	p.t.Helper()
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	p.wantExit(code)
	if took := time.Since(begin); took > 6*time.Second {
		p.t.Errorf("it took %s to end after SIGTERM", took)
	}
}

// await waits until the process has printed text to standard error.
func (p *process) await(text string) { p.t.Helper(); p.awaitAfter(0, text) }

// awaitAfter is await from an offset on. It returns the offset after text.
func (p *process) awaitAfter(from int, text string) int {
	p.t.Helper()
	return p.stderr.await(p, from, text)
}

// An output collects what a process prints.
type output struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{} // closed when text grows; nil if nobody waits
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grown != nil {
		close(o.grown)
		o.grown = nil
	}
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) await(p *process, from int, text string) int {
	p.t.Helper()
	late := time.After(waitTimeout)
	for {
		o.mu.Lock()
		i := strings.Index(o.text.String()[from:], text)
		if o.grown == nil {
			o.grown = make(chan struct{})
		}
		grown := o.grown
		o.mu.Unlock()
		if i >= 0 {
			return from + i + len(text)
		}
		select {
		case <-grown:
		case <-p.ended:
			if !strings.Contains(o.String()[from:], text) {
				p.t.Fatalf("%v ended with %v before it printed %q:\n%s%s", p.cmd.Args[1:], p.cmd.ProcessState, text,
					&p.stdout,
					&p.stderr)
			}
		case <-late:
			p.t.Fatalf("%v does not say %q:\n%s%s", p.cmd.Args[1:], text, &p.stdout, &p.stderr)
		}
	}
}

// run runs a command to its end.
func run(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, command(t, env, args...))
	code = p.exit()
	return code, p.stdout.String(), p.stderr.String()
}

// newCloud starts a cloud that assigns as fast as it can.
func newCloud(t *testing.T) *emulator.Cloud {
	t.Helper()
	return emulator.ForTest(t, emulator.Config{RetryAfter: time.Second})
}

// wait waits until a condition of the cloud is true.
func wait(t *testing.T, cloud *emulator.Cloud, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	if err := cloud.Wait(ctx, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// waitReadings waits until a hub has n readings of dev1.
func waitReadings(t *testing.T, cloud *emulator.Cloud, hub string, n int) {
	t.Helper()
	wait(t, cloud, fmt.Sprintf("%d readings at hub %s", n, hub), func() bool { return readings(cloud, hub) >= n })
}

func readings(cloud *emulator.Cloud, hub string) (n int) {
	for _, d := range cloud.Ledger() {
		if d.Hub == hub {
			n++
		}
	}
	return n
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
