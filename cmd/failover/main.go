// Command failover runs an Azure IoT device that stays connected when its hub dies, and a local
// cloud to try it on.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/machine"
)

// The exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
	exitLost    = 5
	exitMissed  = 6 // code for a drill in which the client missed a limit
)

// exitCodes is part of the help of the commands that can end with each of these codes.
const exitCodes = "Exit codes: 0 clean, 1 failure, 2 settings or usage, 5 readings were lost."

// A codedError ends the program with an exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// usage marks an error as an error of settings or usage, which has an exit code of its own.
func usage(err error) error { return &codedError{exitUsage, err} }

func main() {
	root := rootCommand()
	root.SetOut(&printer{to: os.Stdout})
	err := root.Execute()
	if err != nil {
		printError(err)
	}
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	var coded *codedError
	var lost *machine.LostError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &lost): // a LostError takes precedence over any other error
		return exitLost
	case errors.As(err, &coded):
		return coded.code
	}
	return exitFailure
}

// printError prints an error to standard error. It waits for half a second at most, because the
// reader of standard error may have stopped reading.
func printError(err error) {
	printed := make(chan struct{})
	go func() {
		fmt.Fprintln(os.Stderr, "failover:", escapedError(err))
		close(printed)
	}()
	select {
	case <-printed:
	case <-time.After(time.Second / 2):
	}
}

const about = "An Azure IoT device that stays connected when its hub dies, and a local cloud to try it on"

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "failover",
		Short:             about,
		Long:              "failover is " + strings.ToLower(about[:1]) + about[1:] + "." + demoLine,
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Version:           version(),
		RunE: func(c *cobra.Command, _ []string) error {
			return c.Help()
		},
	}
	root.AddGroup(&cobra.Group{ID: "device", Title: "Device commands:"})
	root.AddCommand(runCommand(), outboxCommand(), ledgerCommand())
	addLab(root)
	root.AddGroup(&cobra.Group{ID: "read", Title: "Information:"})
	root.AddCommand(statesCommand(), traceCommand(), versionCommand(), manCommand(root))
	root.SetHelpCommandGroupID("read")
	root.SetCompletionCommandGroupID("read")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see %s --help", errorWithoutKeys(err), c.CommandPath()))
	})
	usageErrors(root)
	return root
}

// usageErrors reports a wrong number of arguments, an empty argument and an unknown command as
// usage errors, in place of cobra's defaults.
func usageErrors(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	if !c.Runnable() { // for an unknown subcommand, cobra would print the help and exit with code 0
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	if c.Name() == "help" {
		check = checkHelpTopic
	}
	c.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err == nil {
			err = checkNotEmpty(c.Flags(), args)
		}
		if err != nil {
			return usage(fmt.Errorf("%w; see %s --help", errorWithoutKeys(err), c.CommandPath()))
		}
		return nil
	}
	for _, child := range c.Commands() {
		usageErrors(child)
	}
}

// checkHelpTopic refuses a help topic that is not a command.
func checkHelpTopic(c *cobra.Command, args []string) error {
	if found, rest, err := c.Root().Find(args); err != nil || len(rest) > 0 {
		return fmt.Errorf("unknown command %q for %q", rest[0], found.CommandPath())
	}
	return nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", GroupID: "read", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "failover", version())
			return err
		},
	}
}

// version returns the versions of the module and of Go that the build recorded.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	return v + " " + info.GoVersion
}
