//go:build !nolab

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/fleet"
)

const (
	dpsRegistrations = 1000 // that DPS accepts in a minute
	leastConnections = 100  // that an S1 hub accepts in a second, whatever its number of units
	unitConnections  = 12   // that an S1 hub accepts in a second for each unit
	maxFleet         = 100_000
	maxUnits         = 1000
	maxAway          = 12 * time.Hour // half of the time that is simulated
)

func fleetCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "fleet", Short: "Plan how a fleet of devices comes back after an outage", GroupID: "lab",
		Args: cobra.NoArgs,
	}
	c.AddCommand(planCommand())
	return c
}

// planOptions are the flags of the command.
type planOptions struct {
	fleet.Plan
	units          int
	outage, output string
}

func planCommand() *cobra.Command {
	var o planOptions
	c := &cobra.Command{
		Use: "plan", Short: "Print how long a fleet needs until all devices are back", Args: cobra.NoArgs,
		Long: "plan simulates an outage of a fleet whose devices share one hub and one DPS, with the policy of\n" +
			"this device and with those of others. The hub accepts the greater of 100 connections a second and\n" +
			"12 for each unit (S1), and refuses what is beyond; DPS accepts 1,000 registrations a minute. The\n" +
			"result is a fleet's setting --spread, and the time until all devices are back.",
		Example: "  failover fleet plan --devices 10000\n  failover fleet plan --devices 2000 --outage moved",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return usage(err)
			}
			o.Registrations, o.Outage = dpsRegistrations, fleet.Outage(o.outage)
			o.HubConnections = max(leastConnections, unitConnections*o.units)
			if o.output == "json" {
				return json.NewEncoder(c.OutOrStdout()).Encode(o.Results())
			}
			return printPlan(c.OutOrStdout(), o.Plan)
		},
	}
	f := c.Flags()
	f.IntVar(&o.Devices, "devices", 1000, "number of devices")
	f.IntVar(&o.units, "units", 1, "number of units of the S1 hub")
	f.StringVar(&o.outage, "outage", string(fleet.Returns),
		"hub-returns, or moved: the hub stays away and all devices are moved at once")
	f.DurationVar(&o.Away, "away", time.Minute, "time after which the hub returns")
	f.DurationVar(&o.RetryAfter, "retry-after", 3*time.Second, "time that a registration takes")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the random waits")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	return c
}

func (o planOptions) check() error {
	outage := fleet.Outage(o.outage)
	switch {
	case o.Devices < 1 || o.Devices > maxFleet:
		return fmt.Errorf("--devices is %d: it must be 1 to %d", o.Devices, maxFleet)
	case o.units < 1 || o.units > maxUnits:
		return fmt.Errorf("--units is %d: it must be 1 to %d", o.units, maxUnits)
	case outage != fleet.Returns && outage != fleet.Moved:
		return fmt.Errorf("--outage is %q: it must be %s or %s", o.outage, fleet.Returns, fleet.Moved)
	case o.Away < 0 || o.Away > maxAway:
		return fmt.Errorf("--away is %s: it must be 0 to %s", o.Away, maxAway)
	case o.RetryAfter < 0 || o.RetryAfter > time.Hour:
		return fmt.Errorf("--retry-after is %s: it must be 0 to 1h", o.RetryAfter)
	case o.output != "text" && o.output != "json":
		return fmt.Errorf("--output is %q: it must be text or json", o.output)
	}
	return nil
}

func printPlan(out io.Writer, p fleet.Plan) error {
	happens := fmt.Sprintf("the hub returns after %s", p.Away)
	if p.Outage == fleet.Moved {
		happens = "the hub stays away, and all devices are moved at once"
	}
	fmt.Fprintf(out,
		"%d devices lose their hub, and %s.\nThe hub accepts %d connections a second, DPS %d registrations "+
			"a minute: so all can be back after %s at best.\nRun each device with --spread %s.\n\n",
		p.Devices, happens, p.HubConnections, p.Registrations, p.Limit().Round(time.Second), p.Spread())
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "policy\thalf are back after\tall are back after\tbusiest second at the hub\tattempts")
	for _, r := range p.Results() {
		all := r.All.Round(time.Second).String()
		if r.Back < p.Devices {
			all = fmt.Sprintf("%d are not back after a day", p.Devices-r.Back)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d, %.1f times the limit\t%d\n", r.Policy, r.Half.Round(time.Second), all,
			r.Peak,
			float64(r.Peak)/float64(p.HubConnections), r.Attempts)
	}
	return table.Flush()
}
