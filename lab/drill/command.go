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

// A Command is a client that is a line for a shell. It finds its Place in its environment, and is ended by SIGTERM where there is one.
type Command struct {
	Line   string
	Output io.Writer // what it prints; nil: nowhere
}

type process struct {
	cmd     *exec.Cmd
	leash   *leash // as long as it may live
	started time.Time
	ended   chan struct{}

	watching sync.WaitGroup
	mu       sync.Mutex
	memory   int64 // resident, at most
}

// watch looks how much memory there is until it ends.
func (r *process) watch() {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		r.look()
		select {
		case <-look.C:
		case <-r.ended:
			return
		}
	}
}

// Start starts it. What it has started itself ends with it where the system has process groups.
func (c Command) Start(p Place) (Running, error) {
	cmd := shell(c.Line)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), forADevice), p.Environment()...)
	cmd.Stdout, cmd.Stderr = c.Output, c.Output
	cmd.WaitDelay = time.Second
	leash, err := begin(cmd)
	if err != nil {
		return nil, fmt.Errorf("drill: %w", err)
	}
	r := &process{cmd: cmd, leash: leash, started: time.Now(), ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // ProcessState tells
		close(r.ended)
	}()
	r.watching.Go(r.watch)
	return r, nil
}

// isOver tells whether the shell has ended and everything that it had started.
func (r *process) isOver() bool {
	select {
	case <-r.ended:
		return !lives(r.cmd)
	default:
		return false
	}
}

func (r *process) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory = max(r.memory, resident(r.cmd.Process.Pid))
}

// forADevice tells a variable that would lead a client to some other cloud.
func forADevice(variable string) bool {
	return strings.HasPrefix(variable, "FAILOVER_") || strings.HasPrefix(variable, "IOTHUB_")
}

func (r *process) Ended() <-chan struct{} { return r.ended }

func (r *process) Stop(ctx context.Context) Usage {
	var u Usage
	r.look()
	select {
	case <-r.ended:
		u.Died = fmt.Sprintf("it ended by itself: %v", r.cmd.ProcessState)
	default:
		end(r.cmd, false)
	}
	for !r.isOver() && u.Died == "" {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			u.Died = "it did not end when it was told to"
		}
	}
	end(r.cmd, true) // and what it has left behind
	<-r.ended
	r.leash.drop()
	r.watching.Wait()
	u.Elapsed = time.Since(r.started)
	u.CPU = r.cmd.ProcessState.UserTime() + r.cmd.ProcessState.SystemTime()
	u.Memory = r.memory
	return u
}
