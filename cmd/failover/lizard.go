//go:build !nolab

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/central"
	"giantlizard.example/failover/lab/emulator"
)

// secondTerminalHelp is part of the help of commands that call a running emulator.
const secondTerminalHelp = "The command calls the emulator that runs on this machine. It finds it " +
	"through its control\nfile; set FAILOVER_CONTROL_FILE if that is not the default file."

const lizardHelp = secondTerminalHelp + " A target is DPS, the name of a hub\n" +
	"(A or B), or the ID of a device.\n\n" + clientExitCodes

func lizardCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "lizard", Short: "Inject faults into the emulator running on this machine", GroupID: "lab",
		Args: cobra.NoArgs,
		Long: "lizard injects faults into DPS, the hubs and the devices of a running emulator, and clears them.\n\n" +
			lizardHelp,
		Example: "  failover lizard list\n  failover lizard kill A --for 30s\n" +
			"  failover lizard kill DPS throttles --retry-after 5s\n  failover lizard heal",
	}
	c.AddCommand(lizardList(), lizardKill(), lizardHeal())
	return c
}

// A faultList holds all faults that the emulator can inject, and the active faults.
type faultList struct {
	Faults  []central.Fault     `json:"faults"`
	Strikes []central.Injection `json:"strikes"`
}

func lizardList() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "list", Short: "List all faults with their effect on a device, and the active ones", Args: cobra.NoArgs,
		Long: "list prints all faults and then the active ones.\n\n" + lizardHelp,
		RunE: func(c *cobra.Command, _ []string) error {
			return withEmulator(c, format, func(ctx context.Context, client *central.Client) (err error) {
				var all faultList
				if all.Faults, err = client.Faults(ctx); err != nil {
					return err
				}
				if all.Strikes, err = client.ActiveFaults(ctx); err != nil {
					return err
				}
				if format == "json" {
					return encode(c.OutOrStdout(), "  ", all)
				}
				return all.print(c.OutOrStdout())
			})
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return c
}

// withEmulator runs call with a client for the emulator on this machine.
func withEmulator(c *cobra.Command, format string, call func(context.Context, *central.Client) error) error {
	if format != "table" && format != "json" {
		return usage(errorWithoutKeys(fmt.Errorf("--output is %q: it must be table or json", format)))
	}
	cfg, err := readEnvironment()
	if err != nil {
		return err
	}
	client, err := cfg.emulator()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), controlTimeout)
	defer cancel()
	return call(ctx, client)
}

// controlTimeout bounds a call of the control API on this machine. A call takes far less time.
const controlTimeout = 30 * time.Second

func (l faultList) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(cells ...string) {
		for i := range cells {
			cells[i] = escaped(cells[i])
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	row("FAULT", "TARGETS", "PARAMETERS", "WHAT A DEVICE SEES")
	for _, f := range l.Faults {
		row(f.Name, strings.Join(f.On, ", "), strings.Join(f.Parameters, ", "), f.Doc)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(l.Strikes) == 0 {
		_, err := fmt.Fprintln(out, "\nNo fault is active.")
		return err
	}
	fmt.Fprintln(out, "\nActive faults:")
	for _, s := range l.Strikes {
		row(s.Target, s.Fault, parametersOf(s))
	}
	return table.Flush()
}

// parametersOf returns the parameters of a fault as name=value, in the order of their names.
func parametersOf(s central.Injection) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		all = append(all, name+"="+s.Parameters[name])
	}
	return strings.Join(all, " ")
}

// parameterHelp explains the parameters of faults.
var parameterHelp = map[string]string{
	"for":         "`time` after which the fault ends (default: it lasts until heal)",
	"count":       "`number` of times that the fault takes effect before it ends",
	"probability": "probability (`0..1`) that the fault takes effect each time",
	"delay":       "`time` of the delay; lizard list says what is delayed",
	"jitter":      "maximum `time` of the random additional delay",
	"rate":        "`number` of bytes a second",
	"retry-after": "`time` in the Retry-After of the answer",
	"status":      "`number` of the status code in the answer (default: the fault's own)",
	"mark":        "`text` that marks the messages with the fault",
	"hub":         "`name` of a hub",
	"anew":        "`true` if a new registration at DPS ends the fault",
}

func lizardKill() *cobra.Command {
	var format string
	parameters := map[string]*string{}
	c := &cobra.Command{
		Use: "kill TARGET [FAULT]", Short: "Inject a fault (default: fin) at a target", Args: cobra.RangeArgs(1, 2),
		Long: "kill injects a fault at a target. Each fault takes --for and the parameters that list shows " +
			"for it.\n\n" +
			lizardHelp,
		Example: "  failover lizard kill A --for 30s\n  failover lizard kill dev1 late-puback --delay 10s --count 3",
		RunE: func(c *cobra.Command, args []string) error {
			fault := central.Injection{Target: args[0], Fault: "fin", Parameters: map[string]string{}}
			if len(args) > 1 {
				fault.Fault = args[1]
			}
			for name, value := range parameters {
				if c.Flags().Changed(name) {
					fault.Parameters[name] = *value
				}
			}
			return withEmulator(c, format, func(ctx context.Context, client *central.Client) error {
				active, err := client.Inject(ctx, fault)
				if err != nil {
					return asUsageError(err)
				}
				if format == "json" {
					return encode(c.OutOrStdout(), "  ", active)
				}
				text := "Fault " + active.Fault + " is active at " + active.Target
				if len(active.Parameters) > 0 {
					text += ": " + parametersOf(active)
				}
				return printLine(c, text+".")
			})
		},
	}
	f := c.Flags()
	f.SortFlags = false
	for _, name := range emulator.ParameterNames() {
		parameters[name] = f.String(name, "", parameterHelp[name])
	}
	if anew := f.Lookup("anew"); anew != nil {
		anew.NoOptDefVal = "true"
	}
	f.StringVarP(&format, "output", "o", "table", "table or json")
	return c
}

func lizardHeal() *cobra.Command {
	return &cobra.Command{
		Use: "heal [TARGET] [FAULT]", Short: "Clear a fault at a target, all faults at a target, or all faults",
		Args: cobra.MaximumNArgs(2),
		Long: "heal clears faults that kill injected. It is not an error if there are none.\n\n" + lizardHelp,
		RunE: func(c *cobra.Command, args []string) error {
			target, fault, text := "", "", "All faults are cleared."
			if len(args) > 0 {
				target, text = args[0], "All faults at "+args[0]+" are cleared."
			}
			if len(args) > 1 {
				fault, text = args[1], "Fault "+args[1]+" at "+args[0]+" is cleared."
			}
			return withEmulator(c, "table", func(ctx context.Context, client *central.Client) error {
				if err := client.Clear(ctx, target, fault); err != nil {
					return asUsageError(err)
				}
				return printLine(c, text)
			})
		},
	}
}

func printLine(c *cobra.Command, text string) error {
	_, err := fmt.Fprintln(c.OutOrStdout(), escaped(text))
	return err
}

// asUsageError marks an error as a usage error if the emulator refused a fault, a parameter or a target.
func asUsageError(err error) error {
	var e *central.Error
	switch {
	case errors.As(err, &e) && e.Status == http.StatusBadRequest:
		return usage(fmt.Errorf("%w; failover lizard list shows the faults and their parameters", err))
	case e != nil && e.Status == http.StatusNotFound:
		return usage(err)
	}
	return err
}
