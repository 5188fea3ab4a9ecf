// Command failover runs an Azure IoT device that stays connected when its hub dies, and a local cloud to try it on.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/machine"
)

// The exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
	exitLost    = 5
	exitMissed  = 6 // of the drill
)

// exitCodes stands in the help of the commands that have them all.
const exitCodes = "Exit codes: 0 clean, 1 failure, 2 settings or usage, 5 readings were lost."

// A codedError ends the program with its code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func usage(err error) error { return &codedError{exitUsage, err} }

func main() {
	root := rootCommand()
	root.SetOut(&printer{to: os.Stdout})
	err := root.Execute()
	if err != nil {
		lastWords(err)
	}
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	var coded *codedError
	var lost *machine.LostError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &lost): // whatever else went wrong
		return exitLost
	case errors.As(err, &coded):
		return coded.code
	}
	return exitFailure
}

// lastWords prints the error but does not wait for long: whoever has standard error may not be reading it.
func lastWords(err error) {
	said := make(chan struct{})
	go func() {
		fmt.Fprintln(os.Stderr, "failover:", printed(err))
		close(said)
	}()
	select {
	case <-said:
	case <-time.After(time.Second / 2):
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "failover",
		Short:             "An Azure IoT device that stays connected when its hub dies, and a local cloud to try it on",
		Long:              "failover is an Azure IoT device that stays connected when its hub dies, and a local cloud to try it on." + toSee,
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Version:           version(),
		RunE: func(c *cobra.Command, _ []string) error {
			return c.Help()
		},
	}
	root.AddGroup(&cobra.Group{ID: "device", Title: "The device:"})
	root.AddCommand(runCommand(), outboxCommand(), ledgerCommand())
	addLab(root)
	root.AddGroup(&cobra.Group{ID: "read", Title: "To read:"})
	root.AddCommand(statesCommand(), traceCommand(), versionCommand(), manCommand(root))
	root.SetHelpCommandGroupID("read")
	root.SetCompletionCommandGroupID("read")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see %s --help", shownError(err), c.CommandPath()))
	})
	usageErrors(root)
	return root
}

// usageErrors makes a wrong number of arguments, an empty one and an unknown command usage errors too, whatever cobra's default
// is.
func usageErrors(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	if !c.Runnable() { // it has commands only, and cobra would answer any other with its help
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	if c.Name() == "help" {
		check = knownTopic
	}
	c.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err == nil {
			err = checkGiven(c.Flags(), args)
		}
		if err != nil {
			return usage(fmt.Errorf("%w; see %s --help", shownError(err), c.CommandPath()))
		}
		return nil
	}
	for _, child := range c.Commands() {
		usageErrors(child)
	}
}

func knownTopic(c *cobra.Command, args []string) error {
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

// version is what the build knows of itself.
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
