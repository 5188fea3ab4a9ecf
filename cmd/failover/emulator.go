//go:build !nolab

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/observe"
)

func emulatorCommand() *cobra.Command {
	var config emulator.Config
	var caFile, ledgerFile string
	c := &cobra.Command{
		Use: "emulator", Short: "Run a local cloud: DPS and two IoT hubs", GroupID: "lab", Args: cobra.NoArgs,
		Long: "emulator is DPS and the hubs A and B in this process, over TLS, with keys for development that everybody knows.\n" +
			"It prints what a device needs to reach it, as lines for a shell, and then each thing that happens, until SIGINT or SIGTERM.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkEmulator(config); err != nil {
				return usage(err)
			}
			return runEmulator(lasting(c.Context()), config, caFile, ledgerFile, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&caFile, "ca-file", "failover-ca.pem", "write the cloud's certificate authority to this `file`")
	f.StringVar(&ledgerFile, "ledger-file", "", "append each message that a hub has stored to this `file`, as a JSON line")
	f.StringVar(&config.Host, "host", "127.0.0.1", "address to listen on")
	f.IntVar(&config.Port, "port", 8883, "port of DPS; the hubs have the ones after it; 0: any that are free")
	f.BoolVar(&config.AnyAddress, "any-address", false, "allow a --host that others can reach, although everybody knows the keys")
	f.BoolVar(&config.OwnAddresses, "own-addresses", false, "DPS at 127.0.0.1:8883, hubs at 127.0.0.2:8883 and 127.0.0.3:8883, for SDKs that cannot change the port")
	f.DurationVar(&config.RetryAfter, "retry-after", 3*time.Second, "how long an assignment takes, in whole seconds")
	return c
}

// lastPort leaves room for the two hubs.
const lastPort = 65533

func checkEmulator(config emulator.Config) error {
	ip := net.ParseIP(config.Host)
	switch {
	case config.RetryAfter <= 0:
		return fmt.Errorf("--retry-after is %s: it is a time above 0, such as 3s", config.RetryAfter)
	case config.Port < 0 || config.Port > lastPort:
		return fmt.Errorf("--port is %d: it is 1 to %d, or 0 for any that are free", config.Port, lastPort)
	case config.OwnAddresses, config.Host == "localhost", ip != nil && ip.IsLoopback():
		return nil
	case config.Host == "" || ip != nil && ip.IsUnspecified():
		return fmt.Errorf("--host is %q: it is the address by which devices reach this machine", config.Host)
	case !config.AnyAddress:
		return fmt.Errorf("--host %s can be reached by others, and everybody knows the emulator's keys: add --any-address to allow that", config.Host)
	}
	return nil
}

func runEmulator(ctx context.Context, config emulator.Config, caFile, ledgerFile string, out io.Writer) error {
	lines := observe.NewFan(func(r observe.Record) { fmt.Fprintln(out, r.Message) }) // so that the cloud waits for no reader
	lines.Start()
	defer finish(lines)
	say := func(format string, values ...any) {
		lines.Emit(observe.Record{Kind: observe.Note, Message: fmt.Sprintf(format, values...)})
	}
	ledger, err := openLedger(ledgerFile)
	if err != nil {
		return fmt.Errorf("--ledger-file: %w", err)
	}
	defer ledger.close()
	config.Observe = func(e emulator.Event) {
		if err := ledger.follow(e); err != nil {
			say("--ledger-file: %v", err)
		}
		say("%s %-12s %s", e.Time.Format("15:04:05.000"), e.Kind, strings.Map(printable, e.Text))
	}
	caFile, err = filepath.Abs(caFile) // a device may run elsewhere
	if err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	cloud, err := emulator.Start(config)
	if errors.Is(err, syscall.EADDRINUSE) && !config.OwnAddresses {
		err = fmt.Errorf("%w; give another --port, or 0 for any that are free", err)
	}
	if err != nil {
		return err
	}
	defer cloud.Close()
	ledger.cloud.Store(cloud)
	if err := os.WriteFile(caFile, cloud.CAPEM(), 0o644); err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	say("# Hub A is %s, hub B is %s. A device needs this:", cloud.Hub("A"), cloud.Hub("B"))
	for _, setting := range [][2]string{
		{"PROVISIONING_HOST", cloud.DPSHost()}, {"ID_SCOPE", cloud.IDScope()}, {"DEVICE_ID", "dev1"},
		{"GROUP_KEY", cloud.GroupKey()}, {"CA_FILE", caFile},
	} {
		say("export FAILOVER_%s=%s", setting[0], quoted(setting[1]))
	}
	<-ctx.Done()
	return nil
}

// quoted is one word for a shell, whatever is in it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// printable keeps what a device has sent from moving the cursor or starting a line of its own.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}
