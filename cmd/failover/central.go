//go:build !nolab

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"giantlizard.example/failover/lab/central"
)

const centralHelp = "It talks to the application that --app-id names. Its token stands in FAILOVER_CENTRAL_TOKEN or in the file of --token-file:\n" +
	"an API token (IoT Central, Permissions, API tokens), or a bearer token, as az account get-access-token prints it for the\n" +
	"resource https://apps.azureiotcentral.com. Without --app-id it talks to the emulator that runs on this machine."

const clientExitCodes = "Exit codes: 0 done, 1 failure, 2 settings or usage."

// An centralFlags is the flags of a command that asks an application for something.
type centralFlags struct {
	appID, suffix, deviceID    string
	token, tokenFile, caFile   string
	timeout                    time.Duration
	format                     string
	ttl                        int
	name, content, interfaceID string
	part                       central.Part

	also func(*cobra.Command) error // checks what not every command has
}

func centralCommand() *cobra.Command {
	parent := func(use, short string, children ...*cobra.Command) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
		c.AddCommand(children...)
		return c
	}
	c := parent("central", "Move and look at the devices of IoT Central, real or emulated, as az iot central does",
		parent("device", "What can be done with a device",
			manualFailover(), manualFailback(), showDevice(), registrationInfo(),
			parent("twin", "The properties of a device", showTwin()),
			parent("command", "The commands of a device", runDeviceCommand())))
	c.GroupID = "lab"
	c.Long = "central has the commands of az iot central device, with their words and flags, that a test of failover needs.\n\n" + centralHelp
	return c
}

// command is one that asks for something and prints the answer.
func (a *centralFlags) command(use, short, long string, ask func(context.Context, *central.Client) (any, error)) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs, Long: strings.TrimSpace(long+"\n"+centralHelp) + "\n\n" + clientExitCodes,
		RunE: func(c *cobra.Command, _ []string) error {
			err := a.check(c.Flags())
			if err == nil && a.also != nil {
				err = a.also(c)
			}
			if err != nil {
				return usage(err)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), a.timeout)
			defer cancel()
			answer, err := ask(ctx, client)
			if err != nil {
				return err
			}
			return printAnswer(c.OutOrStdout(), a.format, answer)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&a.appID, "app-id", "n", "", "`ID` of the application: the first part of its address, or what its About page shows")
	f.StringVarP(&a.deviceID, "device-id", "d", "", "`ID` of the device")
	f.StringVar(&a.suffix, "central-dns-suffix", central.DefaultSuffix, "the rest of the application's `address`; or all of it, https://…")
	f.StringVar(&a.suffix, "central-api-uri", central.DefaultSuffix, "the same `address`; the last of the two counts")
	f.StringVar(&a.tokenFile, "token-file", "", "`file` with the token; the token itself: FAILOVER_CENTRAL_TOKEN")
	f.StringVar(&a.caFile, "ca-file", "", "`file` with certificates, as PEM, to be trusted besides the system's")
	f.DurationVar(&a.timeout, "timeout", time.Minute, "give up after this long")
	f.StringVarP(&a.format, "output", "o", "json", "json or table")
	f.StringVar(&a.token, "token", "", "")
	_ = f.MarkHidden("token") // az has it
	return c
}

func (a *centralFlags) check(f *pflag.FlagSet) error {
	switch {
	case f.Changed("token"):
		return errors.New("--token is not taken: every user of this machine can read command lines; put the token into FAILOVER_CENTRAL_TOKEN, or into a file and name that with --token-file")
	case a.format != "json" && a.format != "table":
		return errorWithoutKeys(fmt.Errorf("--output is %q: it is json or table", a.format))
	case a.timeout <= 0:
		return fmt.Errorf("--timeout is %s: it is a time above 0, such as 30s", a.timeout)
	case a.deviceID == "":
		return errors.New("--device-id (-d) is missing: the ID of the device")
	case a.appID == "" && !a.isWholeAddress() && a.suffix != central.DefaultSuffix:
		return errors.New("--app-id (-n) is missing: the first part of the application's address, before the suffix")
	}
	return nil
}
