package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"giantlizard.example/failover/observe"
)

// lasting is the context of a command that goes on until it is told to end. The first SIGINT,
// SIGTERM or SIGHUP ends the context; the second SIGINT or SIGTERM ends the process at once,
// whatever hangs, and even where a shell or a container's PID 1 would have it ignored. SIGHUP, of
// which a terminal that closes may send several, ends nothing at once, and nothing at all where it
// was ignored from the start, as nohup has it. That nobody reads its output any longer ends no such
// command.
func lasting(ctx context.Context) context.Context {
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	hangups := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-hangups:
			cancel()
			<-signals
		case <-signals:
			cancel()
		}
		<-signals
		os.Exit(exitFailure)
	}()
	return ctx
}

// finish gives whoever reads a log half a second for its end. That nobody does is no failure.
func finish(log *observe.Fan) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
	defer cancel()
	_ = log.Close(ctx)
}
