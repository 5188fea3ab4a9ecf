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

const lizardHelp = "It talks to the emulator that runs on this machine: by its control file, which FAILOVER_CONTROL_FILE names if it is not in\n" +
	"its usual place. A target is DPS, a hub by its name (A or B), or a device by its ID.\n\n" + clientExitCodes

func lizardCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "lizard", Short: "Let the giant lizard attack the emulator that runs on this machine", GroupID: "lab", Args: cobra.NoArgs,
		Long:    "lizard strikes DPS, the hubs and the devices of a running emulator with faults by their names, and heals them.\n\n" + lizardHelp,
		Example: "  failover lizard list\n  failover lizard kill A --for 30s\n  failover lizard kill DPS throttles --retry-after 5s\n  failover lizard heal",
	}
	c.AddCommand(lizardList(), lizardKill(), lizardHeal())
	return c
}

// faultList are the faults that there are and those in force.
type faultList struct {
	Faults  []central.Fault     `json:"faults"`
	Strikes []central.Injection `json:"strikes"`
}

func lizardList() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "list", Short: "List every fault with what a device sees of it, and those in force", Args: cobra.NoArgs,
		Long: "list prints the faults that the lizard knows and then those that are in force.\n\n" + lizardHelp,
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

// withEmulator asks the emulator for something.
func withEmulator(c *cobra.Command, format string, ask func(context.Context, *central.Client) error) error {
	if format != "table" && format != "json" {
		return usage(errorWithoutKeys(fmt.Errorf("--output is %q: it is table or json", format)))
	}
	s, err := readEnvironment()
	if err != nil {
		return err
	}
	client, err := s.emulator()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	return ask(ctx, client)
}

// patience is far more than an emulator on this machine takes.
const patience = 30 * time.Second

func (l faultList) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(cells ...string) {
		for i := range cells {
			cells[i] = escaped(cells[i])
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	row("FAULT", "STRIKES", "PARAMETERS", "WHAT A DEVICE SEES")
	for _, f := range l.Faults {
		row(f.Name, strings.Join(f.On, ", "), strings.Join(f.Parameters, ", "), f.Doc)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(l.Strikes) == 0 {
		_, err := fmt.Fprintln(out, "\nNothing is in force.")
		return err
	}
	fmt.Fprintln(out, "\nIn force:")
	for _, s := range l.Strikes {
		row(s.Target, s.Fault, parametersOf(s))
	}
	return table.Flush()
}

func parametersOf(s central.Injection) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		all = append(all, name+"="+s.Parameters[name])
	}
	return strings.Join(all, " ")
}

// parameterHelp is what the parameters mean.
var parameterHelp = map[string]string{
	"for":         "`time` after which it heals by itself; without it, when it is healed",
	"count":       "it strikes so many `times`, then is over",
	"probability": "`0..1` of striking, each time",
	"delay":       "`time`",
	"jitter":      "`time`: at most so much more delay, at random",
	"rate":        "bytes a second, a `number`",
	"retry-after": "`time` that the answer tells",
	"status":      "`number` of the answer, if not the fault's own",
	"mark":        "`text` in a message",
	"hub":         "`name` of a hub",
	"anew":        "`true` if DPS registers the device anew, which ends the fault",
}

func lizardKill() *cobra.Command {
	var format string
	given := map[string]*string{}
	c := &cobra.Command{
		Use: "kill TARGET [FAULT]", Short: "Strike a target, with the fault fin if no other is named", Args: cobra.RangeArgs(1, 2),
		Long:    "kill strikes a target. Each fault takes the parameters that list shows behind it, and --for.\n\n" + lizardHelp,
		Example: "  failover lizard kill A --for 30s\n  failover lizard kill dev1 late-puback --delay 10s --count 3",
		RunE: func(c *cobra.Command, args []string) error {
			s := central.Injection{Target: args[0], Fault: "fin", Parameters: map[string]string{}}
			if len(args) > 1 {
				s.Fault = args[1]
			}
			for name, value := range given {
				if c.Flags().Changed(name) {
					s.Parameters[name] = *value
				}
			}
			return withEmulator(c, format, func(ctx context.Context, client *central.Client) error {
				struck, err := client.Inject(ctx, s)
				if err != nil {
					return asUsageError(err)
				}
				if format == "json" {
					return encode(c.OutOrStdout(), "  ", struck)
				}
				return say(c, strings.TrimSpace(struck.Target+" is struck: "+struck.Fault+" "+parametersOf(struck)))
			})
		},
	}
	f := c.Flags()
	f.SortFlags = false
	for _, name := range emulator.ParameterNames() {
		given[name] = f.String(name, "", parameterHelp[name])
	}
	if anew := f.Lookup("anew"); anew != nil {
		anew.NoOptDefVal = "true"
	}
	f.StringVarP(&format, "output", "o", "table", "table or json")
	return c
}

func lizardHeal() *cobra.Command {
	return &cobra.Command{
		Use: "heal [TARGET] [FAULT]", Short: "Heal a target of a fault, or of every one; without a target, everything", Args: cobra.MaximumNArgs(2),
		Long: "heal ends what kill began. What is well stays so.\n\n" + lizardHelp,
		RunE: func(c *cobra.Command, args []string) error {
			target, fault, said := "", "", "Everything is healed."
			if len(args) > 0 {
				target, said = args[0], args[0]+" is healed."
			}
			if len(args) > 1 {
				fault, said = args[1], args[0]+" is healed of "+args[1]+"."
			}
			return withEmulator(c, "table", func(ctx context.Context, client *central.Client) error {
				if err := client.Clear(ctx, target, fault); err != nil {
					return asUsageError(err)
				}
				return say(c, said)
			})
		},
	}
}

// say prints a line.
func say(c *cobra.Command, text string) error {
	_, err := fmt.Fprintln(c.OutOrStdout(), escaped(text))
	return err
}

// asUsageError makes the emulator's complaint about a fault, a parameter or a target what it is: one about usage.
func asUsageError(err error) error {
	var e *central.Error
	switch {
	case errors.As(err, &e) && e.Status == http.StatusBadRequest:
		return usage(fmt.Errorf("%w; failover lizard list has the faults with their parameters", err))
	case e != nil && e.Status == http.StatusNotFound:
		return usage(err)
	}
	return err
}
