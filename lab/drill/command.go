package drill

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Command is a client that is a shell command. It finds its Place in its environment. Stop sends
// it SIGTERM, or on Windows kills it.
type Command struct {
	Line   string
	Output io.Writer // receives the standard output and error of the client, too; may be nil
}

type process struct {
	cmd      *exec.Cmd
	watchdog *watchdog // kills the client if the process of the drill ends
	started  time.Time
	ended    chan struct{}
	elapsed  time.Duration // from the start to the end; set before ended is closed
	said     *tail         // may be read after ended is closed
	key      string        // the client's key, which may not be shown

	watching sync.WaitGroup
	mu       sync.Mutex
	memory   int64 // the maximum of the resident memory, in bytes
}

// watch measures the memory until the client has ended.
func (r *process) watch() {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		r.measureMemory()
		select {
		case <-look.C:
		case <-r.ended:
			return
		}
	}
}

// Start starts the command. The processes that it starts end with it if the system has process groups.
func (c Command) Start(p Place) (Running, error) {
	cmd := shell(c.Line)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), isDeviceVariable), p.Environment()...)
	said := &tail{also: c.Output}
	cmd.Stdout, cmd.Stderr = said, said // one writer has one pipe, which keeps the lines of both in order
	cmd.WaitDelay = time.Second
	watchdog, err := start(cmd)
	if err != nil {
		return nil, fmt.Errorf("drill: %w", err)
	}
	r := &process{cmd: cmd, watchdog: watchdog, started: time.Now(), ended: make(chan struct{}), said: said,
		key: p.DeviceKey}
	go func() {
		_ = cmd.Wait() // ignore the error, because ProcessState contains the result
		r.elapsed = time.Since(r.started)
		close(r.ended)
	}()
	r.watching.Go(r.watch)
	return r, nil
}

// hasEnded reports whether the shell and everything that it started have ended.
func (r *process) hasEnded() bool {
	select {
	case <-r.ended:
		return !isAlive(r.cmd)
	default:
		return false
	}
}

func (r *process) measureMemory() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory = max(r.memory, resident(r.cmd.Process.Pid))
}

// isDeviceVariable reports whether a variable could lead a client to another cloud.
func isDeviceVariable(variable string) bool {
	for _, prefix := range []string{"FAILOVER_", "IOTHUB_", "EMULATOR_"} {
		if strings.HasPrefix(variable, prefix) {
			return true
		}
	}
	return false
}

func (r *process) Ended() <-chan struct{} { return r.ended }

// endedByItself says after which time a client has ended. The subject of the sentence is the client.
func endedByItself(after time.Duration) string {
	return fmt.Sprintf("ended by itself after %.1f s", after.Seconds())
}

func (r *process) Stop(ctx context.Context) Usage {
	var u Usage
	r.measureMemory()
	select {
	case <-r.ended:
		u.Died = endedByItself(r.elapsed) + " " + howEnded(r.cmd.ProcessState)
	default:
		endGroup(r.cmd, false)
	}
	for !r.hasEnded() && u.Died == "" {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			u.Died = "did not end when it was told to"
		}
	}
	endGroup(r.cmd, true) // kill the processes of the group that are left
	<-r.ended
	r.watchdog.drop()
	r.watching.Wait()
	u.Elapsed = time.Since(r.started)
	u.CPU = r.cmd.ProcessState.UserTime() + r.cmd.ProcessState.SystemTime()
	u.Memory = r.memory
	u.Output = r.said.output(r.key)
	return u
}
