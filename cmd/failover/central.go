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

const centralHelp = "The command calls the application that --app-id names. The token comes from\n" +
	"FAILOVER_CENTRAL_TOKEN or from the file of --token-file. It is an API token (IoT Central,\n" +
	"Permissions, API tokens) or a bearer token, as az account get-access-token prints it for the resource\n" +
	"https://apps.azureiotcentral.com. Without --app-id the command calls the emulator that runs on this\n" +
	"machine."

const clientExitCodes = "Exit codes: 0 success, 1 failure, 2 settings or usage."

// centralFlags are the flags of a command that calls an application.
type centralFlags struct {
	appID, suffix, deviceID    string
	token, tokenFile, caFile   string
	timeout                    time.Duration
	format                     string
	ttl                        int
	name, content, interfaceID string
	part                       central.Part

	checkMore func(*cobra.Command) error // checks the flags of one command in addition to check; may be nil
}

func centralCommand() *cobra.Command {
	parent := func(use, short string, children ...*cobra.Command) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
		c.AddCommand(children...)
		return c
	}
	c := parent("central", "Move and inspect devices of IoT Central, real or emulated, as az iot central does",
		parent("device", "Commands for one device",
			manualFailover(), manualFailback(), showDevice(), registrationInfo(),
			parent("twin", "Properties of a device", showTwin()),
			parent("command", "Commands of a device", runDeviceCommand())))
	c.GroupID = "lab"
	c.Long = "central has those commands of az iot central device that a test of failover needs, with the same\n" +
		"names and flags.\n\n" + centralHelp
	return c
}

// A call asks an application for something and returns the answer.
type call func(context.Context, *central.Client) (any, error)

// command returns a command that makes a call and prints the answer.
func (a *centralFlags) command(use, short, long string, call call) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		Long: strings.TrimSpace(long+"\n"+centralHelp) + "\n\n" + clientExitCodes,
		RunE: func(c *cobra.Command, _ []string) error {
			err := a.check(c.Flags())
			if err == nil && a.checkMore != nil {
				err = a.checkMore(c)
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
			answer, err := call(ctx, client)
			if err != nil {
				return err
			}
			return printAnswer(c.OutOrStdout(), a.format, answer)
		},
	}
	a.register(c.Flags())
	return c
}

// register adds the flags that all commands have.
func (a *centralFlags) register(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVarP(&a.appID, "app-id", "n", "",
		"`ID` of the application: the first part of its address, or the ID on its About page")
	f.StringVarP(&a.deviceID, "device-id", "d", "", "`ID` of the device")
	f.StringVar(&a.suffix, "central-dns-suffix", central.DefaultSuffix,
		"the rest of the application's `address`, or the full address, https://…")
	f.StringVar(&a.suffix, "central-api-uri", central.DefaultSuffix,
		"the same `address` as --central-dns-suffix; the last one given is used")
	f.StringVar(&a.tokenFile, "token-file", "", "`file` with the token; FAILOVER_CENTRAL_TOKEN holds the token itself")
	f.StringVar(&a.caFile, "ca-file", "", "PEM `file` with certificate authorities to trust besides the system's")
	f.DurationVar(&a.timeout, "timeout", time.Minute, "timeout of the command")
	f.StringVarP(&a.format, "output", "o", "json", "json or table")
	f.StringVar(&a.token, "token", "", "")
	_ = f.MarkHidden("token") // az has this flag; check refuses it and names the alternative
}

func (a *centralFlags) check(f *pflag.FlagSet) error {
	switch {
	case f.Changed("token"):
		return errors.New("--token is not supported, because every user of this machine can read command lines: " +
			"put the token into FAILOVER_CENTRAL_TOKEN, or into a file that --token-file names")
	case a.format != "json" && a.format != "table":
		return errorWithoutKeys(fmt.Errorf("--output is %q: it must be json or table", a.format))
	case a.timeout <= 0:
		return fmt.Errorf("--timeout is %s: it must be above 0, such as 30s", a.timeout)
	case a.deviceID == "":
		return errors.New("--device-id (-d) is missing: give the ID of the device")
	case a.appID == "" && !a.isWholeAddress() && a.suffix != central.DefaultSuffix:
		return errors.New("--app-id (-n) is missing: give the first part of the application's address, " +
			"before the suffix")
	}
	return nil
}
