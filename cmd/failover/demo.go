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
		Use: "demo", Short: "Show a failover and a failback; needs no Azure and no settings",
		GroupID: "lab", Args: cobra.NoArgs,
		Long: "demo starts a local cloud and a device in this process. It kills the device's hub, restores it, and\n" +
			"compares the readings that the device accepted with those that the cloud received. This takes about\n" +
			"half a minute. SIGINT, SIGTERM or SIGHUP ends the demo early.\n\n" + exitCodes,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out = c.OutOrStdout()
			balance, err := demo.Run(untilSignal(c.Context()), o)
			if err == nil || balance.Accepted > 0 {
				balance.Print(c.ErrOrStderr())
			}
			if err == nil && !balance.Complete() {
				err = &codedError{exitLost,
					errors.New("the cloud did not receive exactly the readings that the device accepted")}
			}
			return err
		},
	}
	c.Flags().BoolVar(&o.Watch, "watch", false, "repeat until SIGINT, SIGTERM or SIGHUP")
	c.Flags().BoolVar(&o.JSON, "json", false, "print the device's records as JSON lines")
	return c
}
