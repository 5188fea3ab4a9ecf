//go:build !nolab

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/central"
)

func emulatorDevice() *cobra.Command {
	var hub string
	c := &cobra.Command{
		Use: "device DEVICE_ID", Short: "Print the connection string of a device, for a client without DPS",
		Args: cobra.ExactArgs(1),
		Long: "device prints the connection string with which a device connects to its hub in the running\n" +
			"emulator, without DPS. It creates the device at the hub if the device is at no hub yet. When the\n" +
			"device has been moved, its hub is another one, and so is its connection string.\n\n" +
			secondTerminalHelp + "\n\n" + clientExitCodes,
		Example: "  failover emulator device dev1\n" +
			"  export IOTHUB_DEVICE_CONNECTION_STRING=\"$(failover emulator device dev2 --hub B)\"",
		RunE: func(c *cobra.Command, args []string) error {
			return withEmulator(c, "table", func(ctx context.Context, client *central.Client) error {
				device, err := client.CreateDevice(ctx, args[0], hub)
				if err != nil {
					return createError(err)
				}
				return printLine(c, device.ConnectionString)
			})
		},
	}
	c.Flags().StringVar(&hub, "hub", "",
		"`name` of the hub, A or B (default: the device's own, or else that of new devices)")
	return c
}

// createError adds what to do next, and marks what the user has typed wrongly as a usage error.
func createError(err error) error {
	var e *central.Error
	switch {
	case errors.As(err, &e) && e.Status == http.StatusConflict:
		return fmt.Errorf("%w; leave --hub out, or move the device with failover lizard kill DEVICE_ID moved", err)
	case e != nil && (e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity):
		return usage(err)
	}
	return err
}
