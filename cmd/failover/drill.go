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

const drillHelp = `drill runs a client in scenarios, each with a new cloud, and grades it by what the cloud received.
The default client is the device of this program. Any other client is a shell command, which is ended
with SIGTERM. The command finds these variables in its environment:
  FAILOVER_PROVISIONING_HOST, FAILOVER_ID_SCOPE, FAILOVER_DEVICE_ID, FAILOVER_DEVICE_KEY
                               also under their IOTHUB_DEVICE_DPS_… names
  FAILOVER_CA_FILE             also as NODE_EXTRA_CA_CERTS and SSL_CERT_FILE
  FAILOVER_STATE_DIR           a directory for this client only
  FAILOVER_TELEMETRY_INTERVAL  the time between its readings
  IOTHUB_DEVICE_CONNECTION_STRING  for a client without DPS
  EMULATOR_DPS_HOST, EMULATOR_HUB_A_PORT, EMULATOR_TRUST_STORE and others
                               the same in other forms; docs/drill.md lists them
The client numbers its readings: with the digits at the end of the message ID, or in a field of the
body (--number-field). A scenario ends when its client ends.
The first lines of a report card say what is wrong with a client that failed; its last lines of output
are at the end of the card. docs/drill.md says how each row is counted.

Exit codes: 0 all limits kept, 1 failure, 2 usage, 6 a limit was missed.`

// drillFlags are the flags of the command.
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

// refuseArguments returns an error if there is an argument. The error names the flag for a scenario.
func refuseArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %.100q: name a scenario with --scenario", args[0])
	}
	return nil
}

func drillCommand() *cobra.Command {
	var k drillFlags
	c := &cobra.Command{
		Use: "drill", Short: "Run any client in scenarios of faults and grade it", GroupID: "lab",
		Args: refuseArguments, Long: drillHelp,
		Example: "  failover drill --scenario polite-failover\n" +
			"  failover drill --client 'node device.js' --own-addresses --html card.html\n" +
			"  failover drill --devices 1000 --spread 30s",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := k.check(c.Flags().Changed("devices")); err != nil {
				return usage(err)
			}
			ctx := untilSignal(c.Context())
			if k.devices > 0 {
				return k.fleet(ctx, c.OutOrStdout(), c.ErrOrStderr())
			}
			return k.drill(ctx, c)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVar(&k.scenarios, "scenario", nil,
		"`name` of a scenario (see failover scenario list), or a file with one; may be repeated\n(default: "+
			"all scenarios)")
	f.Uint64Var(&k.seed, "seed", 0, "seed for the random parts of scenarios; 0 means the seeds in the scenarios")
	f.StringVar(&k.client, "client", "", "`command` that runs the client (default: the device of this program)")
	f.StringVar(&k.clientLog, "client-log", "", "append the output of the client to this `file`")
	f.DurationVar(&k.interval, "interval", time.Second, "time between the client's readings")
	f.StringVar(&k.numberField, "number-field", "",
		"`field` of the body with the number of the reading (default: the end of the message ID)")
	f.BoolVar(&k.ownAddresses, "own-addresses", false, ownAddressesUsage)
	f.StringVarP(&k.format, "output", "o", "table", "table or json")
	f.StringVar(&k.page, "html", "", "write the report cards with their timelines to this HTML `file`")
	f.IntVar(&k.devices, "devices", 0, "run a fleet of `N` devices of this program instead, and kill its hub")
	f.DurationVar(&k.spread, "spread", 0, "spread of the devices, see failover run --help")
	return c
}

func (k *drillFlags) check(fleet bool) error {
	switch {
	case k.format != "table" && k.format != "json":
		return fmt.Errorf("--output is %q: it must be table or json", k.format)
	case k.interval < 10*time.Millisecond:
		return fmt.Errorf("--interval is %s: it must be at least 10ms", k.interval)
	case fleet && k.devices < 1:
		return fmt.Errorf("--devices is %d: it must be at least 1", k.devices)
	case k.spread < 0:
		return fmt.Errorf("--spread is %s: it must be a duration such as 30s, or 0", k.spread)
	case k.devices > 0 && (k.client != "" || len(k.scenarios) > 0 || k.page != ""):
		return errors.New("--devices cannot be combined with --client, --scenario or --html: " +
			"a fleet consists of devices of this program, and its only fault is the death of its hub")
	case k.spread > 0 && k.devices == 0:
		return errors.New("--spread needs --devices")
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
		Client: client, Name: name, DeviceID: "dev1", Interval: k.interval,
		Numbers:   drill.Numbers{Field: k.numberField},
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

// checkPageWritable opens the page before the drill, so that the user sees an error at once. The
// drill may take half an hour.
func (k *drillFlags) checkPageWritable() error {
	if k.page == "" {
		return nil
	}
	// Without O_TRUNC the old page stays until the new page is complete.
	page, err := os.OpenFile(k.page, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	return page.Close()
}

// print prints the cards and writes the page, each even if the other fails.
func (k *drillFlags) print(r *drill.Report, out io.Writer) error {
	printCards := r.Print
	if k.format == "json" {
		printCards = func(out io.Writer) error { return encodeIndented(out, r) }
	}
	return errors.Join(printCards(out), k.writePage(r))
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

// chosenScenarios returns the scenarios that the flags name, or all of the library.
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

// openClient returns the client that the flags name, and its name in the report. done must be called after the drill.
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
		err = &codedError{exitMissed, errors.New("readings are missing, or devices failed or broke the protocol")}
	}
	return err
}
