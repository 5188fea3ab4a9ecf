package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"giantlizard.example/failover/observe"
)

// untilSignal returns the context of a command that runs until it is stopped. The first SIGINT,
// SIGTERM or SIGHUP cancels the context. A second SIGINT or SIGTERM ends the process at once, even
// if something hangs. SIGINT and SIGTERM are handled even where the parent process, such as a shell
// or a container's PID 1, had them ignored. SIGHUP is not handled if the parent had it ignored, as
// nohup does. A second SIGHUP has no effect, because a terminal that closes may send several. A
// closed output pipe does not end the command (SIGPIPE is ignored).
func untilSignal(ctx context.Context) context.Context {
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

// closeLog closes a log. It gives the reader of the log half a second to read the end of the log. If
// nobody reads the log, closeLog ignores the error.
func closeLog(log *observe.Fan) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
	defer cancel()
	_ = log.Close(ctx)
}
