//go:build !nolab

package main

import (
	"errors"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/demo"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	c := &cobra.Command{
		Use: "demo", Short: "Watch a failover and a failback; needs nothing", GroupID: "lab", Args: cobra.NoArgs,
		Long: "demo starts a local cloud and a device in this process, kills the device's hub, brings it back, and compares\n" +
			"what the device took with what the cloud got. It takes about half a minute. SIGINT, SIGTERM or SIGHUP ends it early.\n\n" + exitCodes,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out = c.OutOrStdout()
			balance, err := demo.Run(untilSignal(c.Context()), o)
			if err == nil || balance.Taken > 0 {
				balance.Print(c.ErrOrStderr())
			}
			if err == nil && !balance.Good() {
				err = &codedError{exitLost, errors.New("what the cloud got is not what the device took")}
			}
			return err
		},
	}
	c.Flags().BoolVar(&o.Watch, "watch", false, "go on until SIGINT, SIGTERM or SIGHUP")
	c.Flags().BoolVar(&o.JSON, "json", false, "print the device's records as JSON lines")
	return c
}
