//go:build !nolab

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/control"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/observe"
)

func emulatorCommand() *cobra.Command {
	var l emulatorOptions
	c := &cobra.Command{
		Use: "emulator", Short: "Run a local cloud: DPS and two IoT hubs", GroupID: "lab", Args: cobra.NoArgs,
		Long: "emulator is DPS and the hubs A and B in this process, over TLS, with keys for development that everybody knows.\n" +
			"It prints what a device needs to reach it, as lines for a shell, and then each thing that happens, until SIGINT, SIGTERM or SIGHUP.\n" +
			"Its HTTPS door answers IoT Central's REST API and the lizard's; the address and the token are in the control file.",
		RunE: func(c *cobra.Command, _ []string) error {
			l.config.Host, l.config.ListenHost = plainHost(l.config.Host), plainHost(l.config.ListenHost)
			if err := l.check(); err != nil {
				return usage(err)
			}
			l.config.AnyAddress = true // check has decided
			return l.run(untilSignal(c.Context()), c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&l.caFile, "ca-file", "failover-ca.pem", "write the cloud's certificate authority to this `file`")
	f.StringVar(&l.ledgerFile, "ledger-file", "", "append each message that a hub has stored to this `file`, as a JSON line")
	f.StringVar(&l.config.Host, "host", "127.0.0.1", "address to listen on, and by which devices reach it")
	f.StringVar(&l.config.ListenHost, "listen", "", "`address` to listen on, if that is another than --host; 0.0.0.0 for all, as in a container")
	f.StringVar(&l.dataDir, "data", "", "keep devices, twins and queued messages in this `directory` over restarts")
	f.StringVar(&l.authorityFile, "authority-file", "", "keep the certificate authority and its key in this `file` (default in the user's state directory)")
	f.IntVar(&l.config.Port, "port", 8883, "port of DPS; the hubs have the ones after it; 0: any that are free")
	f.IntVar(&l.controlPort, "control-port", 8443, "port of the HTTPS door; 0: any that is free")
	f.StringVar(&l.controlFile, "control-file", "", "write the door's address and token to this `file`, for its owner alone (default in the user's cache directory)")
	f.BoolVar(&l.config.AnyAddress, "any-address", false, "allow a --host that others can reach, although everybody knows the keys")
	f.BoolVar(&l.config.OwnAddresses, "own-addresses", false, "DPS at 127.0.0.1:8883, hubs at 127.0.0.2:8883 and 127.0.0.3:8883, for SDKs that cannot change the port")
	f.StringVar(&l.config.AllocationPayload, "payload", "", "`JSON` that DPS returns with each assignment")
	f.DurationVar(&l.config.RetryAfter, "retry-after", 3*time.Second, "how long an assignment takes, in whole seconds")
	return c
}

// lastPort leaves room for the two hubs.
const lastPort = 65533

// An emulatorOptions is the cloud, its door, and the files that tell of them.
type emulatorOptions struct {
	config             emulator.Config
	controlPort        int
	controlFile        string
	caFile, ledgerFile string
	authorityFile      string
	dataDir            string
}

func (l emulatorOptions) check() error {
	config := l.config
	ip := net.ParseIP(config.Host)
	switch {
	case config.AllocationPayload != "" && !json.Valid([]byte(config.AllocationPayload)):
		return errors.New("--payload is no JSON: it is what a custom allocation returns, such as {\"site\":\"north\"}")
	case config.RetryAfter <= 0:
		return fmt.Errorf("--retry-after is %s: it is a time above 0, such as 3s", config.RetryAfter)
	case config.Port < 0 || config.Port > lastPort:
		return fmt.Errorf("--port is %d: it is 1 to %d, or 0 for any that are free", config.Port, lastPort)
	case l.controlPort < 0 || l.controlPort > 65535:
		return fmt.Errorf("--control-port is %d: it is 1 to 65535, or 0 for any that is free", l.controlPort)
	case config.OwnAddresses && config.ListenHost != "":
		return errors.New("--own-addresses has addresses of its own: leave --listen out")
	case config.OwnAddresses:
		return nil
	case config.Host == "" || ip != nil && ip.IsUnspecified():
		return fmt.Errorf("--host is %q: it is the address by which devices reach this machine", config.Host)
	case ip == nil && !emulator.IsHostName(config.Host):
		return fmt.Errorf("--host is %q: it is a name or an address that a certificate can hold, without a port", config.Host)
	case !config.AnyAddress && config.ListenHost != "" && !isLoopback(config.ListenHost):
		return fmt.Errorf("--listen %s can be reached by others, and everybody knows the emulator's keys: add --any-address to allow that", config.ListenHost)
	case !config.AnyAddress && config.ListenHost == "" && !isLoopback(config.Host):
		return fmt.Errorf("--host %s can be reached by others, and everybody knows the emulator's keys: add --any-address to allow that", config.Host)
	}
	return nil
}

func (l emulatorOptions) run(ctx context.Context, out io.Writer) error {
	lines := observe.NewFan(func(r observe.Record) { fmt.Fprintln(out, escaped(r.Message)) }) // so that the cloud waits for no reader
	lines.Start()
	defer closeLog(lines)
	say := func(format string, values ...any) {
		lines.Emit(observe.Record{Kind: observe.Note, Message: fmt.Sprintf(format, values...)})
	}
	ledger := &ledgerFile{}
	defer ledger.close()
	l.config.Observe = func(e emulator.Event) {
		if err := ledger.follow(e); err != nil {
			say("--ledger-file: %v", err)
		}
		say("%s %-12s %s", e.Time.Format("15:04:05.000"), e.Kind, e.Text)
	}
	caFile, err := filepath.Abs(l.caFile) // a device may run elsewhere
	if err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	l.config.AuthorityFile = l.authorityPath(say)
	l.config.WriteLater = true
	started := false
	if l.dataDir != "" {
		leave, err := lockDataDir(l.dataDir)
		if err != nil {
			return fmt.Errorf("--data: %w", err)
		}
		defer func() { leave(started) }()
		l.config.DataFile = filepath.Join(l.dataDir, "cloud.json")
	}
	cloud, err := emulator.Start(l.config)
	if errors.Is(err, syscall.EADDRINUSE) && !l.config.OwnAddresses {
		err = fmt.Errorf("%w; give another --port, or 0 for any that are free", err)
	}
	if err != nil {
		return err
	}
	defer cloud.Close()
	door, err := l.openControlAPI(cloud)
	if err != nil {
		return err
	}
	defer door.Close()
	ca, err := l.draftCA(caFile, cloud.CAPEM())
	if err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	defer ca.Discard()
	controlFile, err := l.announce(door, say) // every port is ours, so from here on files are written
	if err != nil {
		return fmt.Errorf("--control-file: %w", err)
	}
	if err := ledger.open(l.ledgerFile, cloud); err != nil {
		return fmt.Errorf("--ledger-file: %w", err)
	}
	if err := ca.Commit(); err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	started = true
	cloud.StartSaving()
	say("# The door for operators is %s; its token is in %s", door.URL(), controlFile)
	printDeviceSettings(cloud, caFile, say)
	<-ctx.Done()
	return nil
}

// printDeviceSettings says what a device needs, as lines for a shell.
func printDeviceSettings(cloud *emulator.Cloud, caFile string, say func(format string, values ...any)) {
	say("# Hub A is %s, hub B is %s. A device needs this:", cloud.Hub("A"), cloud.Hub("B"))
	for _, setting := range [][2]string{
		{"PROVISIONING_HOST", cloud.DPSHost()}, {"ID_SCOPE", cloud.IDScope()}, {"DEVICE_ID", "dev1"},
		{"GROUP_KEY", cloud.GroupKey()}, {"CA_FILE", caFile},
	} {
		say("export FAILOVER_%s=%s", setting[0], quoted(setting[1]))
	}
}

// openControlAPI opens the door beside DPS.
func (l emulatorOptions) openControlAPI(cloud *emulator.Cloud) (*control.Server, error) {
	host, _, err := net.SplitHostPort(cloud.DPSHost())
	if err != nil {
		return nil, err
	}
	door, err := control.Start(control.Config{Cloud: cloud, Host: host, ListenHost: l.config.ListenHost, Port: l.controlPort})
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; give another --control-port, or 0 for any that is free", err)
	}
	return door, err
}

// announce writes the control file. Without --control-file, one that another running emulator has written stays, and this one has
// a file of its own.
func (l emulatorOptions) announce(door *control.Server, say func(format string, values ...any)) (file string, err error) {
	if file = l.controlFile; file == "" {
		file, err = control.DefaultFile()
	}
	if err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return "", err
	}
	err = door.WriteFile(file)
	var other *control.RunningError
	if !errors.As(err, &other) {
		return file, err
	}
	if l.controlFile != "" {
		return "", fmt.Errorf("%w; give another one", err)
	}
	own := strings.TrimSuffix(file, ".json") + "-" + door.Port() + ".json"
	if err := door.WriteFile(own); err != nil {
		return "", err
	}
	say("# Another emulator runs at %s. For this one, failover lizard and failover central need this:", other.URL)
	say("export FAILOVER_CONTROL_FILE=%s", quoted(own))
	return own, nil
}

// authorityPath is the file of the certificate authority, or "" if there is no place for it.
func (l emulatorOptions) authorityPath(say func(format string, values ...any)) string {
	if l.authorityFile != "" {
		return l.authorityFile
	}
	base, err := stateHome()
	if err != nil {
		say("# The certificate authority is for this start alone, because there is no place to keep it: %v", err)
		return ""
	}
	return filepath.Join(base, "failover-emulator", "authority.pem")
}

// quoted is one word for a shell, whatever is in it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
