//go:build !nolab

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

const aboutDrill = `drill puts a client through scenarios, each with a new cloud, and grades it from outside: by what the cloud has received of it.
Without --client it is the device of this program. Any other is a line for a shell, ended by SIGTERM, which finds in its environment
  FAILOVER_PROVISIONING_HOST, FAILOVER_ID_SCOPE, FAILOVER_DEVICE_ID, FAILOVER_DEVICE_KEY, and the same as IOTHUB_DEVICE_DPS_…
  FAILOVER_CA_FILE, also as NODE_EXTRA_CA_CERTS and SSL_CERT_FILE; FAILOVER_STATE_DIR, its own directory;
  FAILOVER_TELEMETRY_INTERVAL, at which it must take readings
It numbers its readings by the digits at the end of the message ID, or in a field of the body (--number-field).
docs/drill.md says how each row of the card is counted.

Exit codes: 0 all limits kept, 1 failure, 2 usage, 6 a limit was missed.`

// drillFlags are what the command is told.
type drillFlags struct {
	scenarios         []string
	seed              uint64
	client, clientLog string
	interval          time.Duration
	numberField       string
	format, page      string
	ownAddresses      bool
	devices           int
	spread            time.Duration
}

func refuseArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%.100q stands alone: a scenario is named by --scenario", args[0])
	}
	return nil
}

func drillCommand() *cobra.Command {
	var k drillFlags
	c := &cobra.Command{
		Use: "drill", Short: "Put any client through bad days and grade it", GroupID: "lab", Args: refuseArguments, Long: aboutDrill,
		Example: "  failover drill --scenario polite-failover\n  failover drill --client 'node device.js' --own-addresses --html card.html\n  failover drill --devices 1000 --spread 30s",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := k.check(c.Flags().Changed("devices")); err != nil {
				return usage(err)
			}
			ctx := untilSignal(c.Context())
			switch {
			case k.devices > 0:
				return k.fleet(ctx, c.OutOrStdout(), c.ErrOrStderr())
			}
			return k.drill(ctx, c)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVar(&k.scenarios, "scenario", nil, "`name` of a scenario (failover scenario list), or a file with one; again for more\n(default: all)")
	f.Uint64Var(&k.seed, "seed", 0, "other luck for what the scenarios leave to chance; 0: what they say themselves")
	f.StringVar(&k.client, "client", "", "`command` that runs the client (default: the device of this program)")
	f.StringVar(&k.clientLog, "client-log", "", "append what the client prints to this `file`")
	f.DurationVar(&k.interval, "interval", time.Second, "between the client's readings")
	f.StringVar(&k.numberField, "number-field", "", "`field` of the body that numbers the readings (default: the end of the message ID)")
	f.BoolVar(&k.ownAddresses, "own-addresses", false, "DPS at 127.0.0.1:8883, hubs at 127.0.0.2:8883 and 127.0.0.3:8883, for SDKs that cannot change the port")
	f.StringVarP(&k.format, "output", "o", "table", "table or json")
	f.StringVar(&k.page, "html", "", "write the cards with their timelines to this `file`")
	f.IntVar(&k.devices, "devices", 0, "run a fleet of `N` of our devices instead, and kill its hub")
	f.DurationVar(&k.spread, "spread", 0, "over this the fleet spreads its first attempts")
	return c
}

func (k *drillFlags) check(fleet bool) error {
	switch {
	case k.format != "table" && k.format != "json":
		return fmt.Errorf("--output is %q: it is table or json", k.format)
	case k.interval < 10*time.Millisecond:
		return fmt.Errorf("--interval is %s: it is at least 10ms", k.interval)
	case fleet && k.devices < 1:
		return fmt.Errorf("--devices is %d: it is at least 1", k.devices)
	case k.spread < 0:
		return fmt.Errorf("--spread is %s: it is a time such as 30s, or 0", k.spread)
	case k.devices > 0 && (k.client != "" || len(k.scenarios) > 0 || k.page != ""):
		return errors.New("--devices goes with none of --client, --scenario and --html: a fleet is of our devices, and its hub dies")
	case k.spread > 0 && k.devices == 0:
		return errors.New("--spread goes with --devices")
	}
	return nil
}

func (k *drillFlags) drill(ctx context.Context, c *cobra.Command) error {
	scenarios, err := k.chosenScenarios()
	if err != nil {
		return usage(err)
	}
	if err := k.checkPageWritable(); err != nil {
		return err
	}
	client, name, done, err := k.openClient()
	if err != nil {
		return err
	}
	defer done()
	line := progress{out: c.ErrOrStderr()}
	d := drill.Drill{
		Client: client, Name: name, DeviceID: "dev1", Interval: k.interval, Numbers: drill.Numbers{Field: k.numberField},
		Scenarios: scenarios, Cloud: emulator.Config{OwnAddresses: k.ownAddresses}, Progress: line.show,
	}
	report, err := d.Run(ctx)
	line.clear()
	if err == nil || len(report.Cards) > 0 {
		err = errors.Join(err, k.print(report, c.OutOrStdout()))
	}
	if missed := report.Missed(); err == nil && missed > 0 {
		err = &codedError{exitMissed, fmt.Errorf("%d limits were missed", missed)}
	}
	return err
}

// checkPageWritable tells whether the page can be written, before it takes half an hour to have one.
func (k *drillFlags) checkPageWritable() error {
	if k.page == "" {
		return nil
	}
	page, err := os.OpenFile(k.page, os.O_CREATE|os.O_WRONLY, 0o644) // an old one stays until there is a new one
	if err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	return page.Close()
}

// print prints the cards, whatever becomes of the page.
func (k *drillFlags) print(r *drill.Report, out io.Writer) error {
	shown := r.Print
	if k.format == "json" {
		shown = func(out io.Writer) error { return encodeIndented(out, r) }
	}
	return errors.Join(shown(out), k.writePage(r))
}

func (k *drillFlags) writePage(r *drill.Report) error {
	if k.page == "" {
		return nil
	}
	var page strings.Builder
	if err := errors.Join(r.WritePage(&page), os.WriteFile(k.page, []byte(page.String()), 0o644)); err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	return nil
}

func encodeIndented(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", " ")
	return e.Encode(v)
}

// chosenScenarios are the scenarios by name or file, or all.
func (k *drillFlags) chosenScenarios() ([]scenario.Scenario, error) {
	all := scenario.Library()
	if len(k.scenarios) > 0 {
		all = nil
	}
	for _, name := range k.scenarios {
		s, err := scenario.Load(name)
		if err != nil {
			return nil, fmt.Errorf("--scenario: %w", err)
		}
		s.Name = escaped(s.Name)
		all = append(all, s)
	}
	if k.seed > 0 {
		for i := range all {
			all[i] = all[i].WithSeed(k.seed)
		}
	}
	return all, nil
}

func (k *drillFlags) openClient() (client drill.Client, name string, done func(), err error) {
	line, name := k.client, escaped(k.client)
	if line == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, "", nil, err
		}
		line, name = quoted(self)+" run --env-file "+quoted(os.DevNull), "failover "+version()
	}
	if k.clientLog == "" {
		return drill.Command{Line: line}, name, func() {}, nil
	}
	log, err := os.OpenFile(k.clientLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, "", nil, fmt.Errorf("--client-log: %w", err)
	}
	return drill.Command{Line: line, Output: log}, name, func() { log.Close() }, nil
}

func (k *drillFlags) fleet(ctx context.Context, out, messages io.Writer) error {
	line := progress{out: messages}
	r, err := drill.Fleet{Devices: k.devices, Interval: k.interval, Spread: k.spread, Progress: line.show}.Run(ctx)
	line.clear()
	switch {
	case err != nil:
		return err
	case k.format == "json":
		err = encodeIndented(out, r)
	default:
		err = r.Print(out)
	}
	if err == nil && (r.Missing > 0 || r.Died > 0 || r.Violations > 0) {
		err = &codedError{exitMissed, errors.New("not every device came through")}
	}
	return err
}
