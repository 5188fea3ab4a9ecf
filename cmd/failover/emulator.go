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
	"github.com/spf13/pflag"

	"giantlizard.example/failover/lab/control"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/service"
	"giantlizard.example/failover/observe"
)

func emulatorCommand() *cobra.Command {
	var o emulatorOptions
	c := &cobra.Command{
		Use: "emulator", Short: "Run a local cloud: DPS and two IoT hubs", GroupID: "lab", Args: cobra.NoArgs,
		Long: "emulator runs DPS and the hubs A and B in this process, over TLS, with development keys that are\n" +
			"public. It prints the settings that a device needs, as shell commands, and then every event, until\n" +
			"SIGINT, SIGTERM or SIGHUP. Each line of the log has the time, the place (DPS, hub A or hub B), the\n" +
			"device, and what happened. The control API is HTTPS; it serves IoT Central's REST API, the\n" +
			"injection of faults and the stream of messages. The address and the token are in the control file.\n" +
			"DPS and the hubs also serve their service APIs, on the same ports; emulator prints the connection\n" +
			"strings for back ends and az --login.",
		RunE: func(c *cobra.Command, _ []string) error {
			o.config.Host, o.config.ListenHost = plainHost(o.config.Host), plainHost(o.config.ListenHost)
			if err := o.check(); err != nil {
				return usage(err)
			}
			o.complete()
			return o.run(untilSignal(c.Context()), c.OutOrStdout())
		},
	}
	o.register(c.Flags())
	c.AddCommand(emulatorDevice(), emulatorMessages(), emulatorTrust())
	return c
}

// defaultCAFile is the name of the file with the emulator's certificate authority.
const defaultCAFile = "failover-ca.pem"

// ownAddressesUsage explains --own-addresses of emulator and drill.
const ownAddressesUsage = "DPS at 127.0.0.1:8883, hubs at 127.0.0.2:8883 and 127.0.0.3:8883,\n" +
	"for SDKs that cannot use another port"

func (o *emulatorOptions) register(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&o.caFile, "ca-file", defaultCAFile,
		"write the cloud's certificate authority to this `file`, and beside it as PKCS#12 (.p12)")
	f.StringVar(&o.ledgerFile, "ledger-file", "",
		"append each message that a hub stores to this `file`, as a JSON line")
	f.IntVar(&o.messageMemory, "message-memory", 128,
		"`MiB` of memory for messages; beyond it the oldest ones are forgotten; 0 means no limit")
	f.StringVar(&o.config.Host, "host", "127.0.0.1", "address to listen on; devices connect to it")
	f.StringVar(&o.config.ListenHost, "listen", "",
		"`address` to listen on if it is not --host, such as 0.0.0.0 for all addresses in a container")
	f.StringVar(&o.dataDir, "data", "", "keep devices, twins and queued messages in this `directory` across restarts")
	f.StringVar(&o.authorityFile, "authority-file", "",
		"keep the certificate authority and its key in this `file` (default in the user's state directory)")
	f.IntVar(&o.config.Port, "port", 8883, "port of DPS; the hubs get the next ones; 0 means any free ports")
	f.IntVar(&o.controlPort, "control-port", 8443, "port of the control API; 0 means any free port")
	f.StringVar(&o.controlFile, "control-file", "",
		"write the address and the token of the control API to this `file`, readable by its owner\n"+
			"only (default in the user's cache directory)")
	f.BoolVar(&o.config.AnyAddress, "any-address", false,
		"allow a --host that other machines can reach, although the keys are public")
	f.BoolVar(&o.config.OwnAddresses, "own-addresses", false, ownAddressesUsage)
	f.StringVar(&o.config.AllocationPayload, "payload", "", "`JSON` that DPS returns with each assignment")
	f.DurationVar(&o.config.RetryAfter, "retry-after", 3*time.Second, "time that an assignment takes, in whole seconds")
	f.DurationVar(&o.config.AnswerDelay, "answer-delay", emulator.DefaultAnswerDelay,
		"time until DPS answers, and a hub answers a twin request; 0 means at once")
	f.IntVar(&o.config.HubConnections, "hub-connections", 0,
		"connections that each hub accepts in a second, 100 for an S1 hub; 0 means no limit")
	f.IntVar(&o.config.Registrations, "registrations", 0,
		"registrations that DPS accepts in a minute, 1000 for the real one; 0 means no limit")
}

// lastPort is the highest port of DPS, so that two ports for the hubs remain above it.
const lastPort = 65533

// mostMessageMemory is the largest memory for messages in MiB, far more than a machine has.
const mostMessageMemory = 1 << 20

// emulatorOptions are the flags of the command.
type emulatorOptions struct {
	config              emulator.Config
	controlPort         int
	controlFile, caFile string
	ledgerFile, dataDir string
	authorityFile       string
	messageMemory       int // MiB
}

func (o emulatorOptions) check() error {
	config := o.config
	ip := net.ParseIP(config.Host)
	switch {
	case config.AllocationPayload != "" && !json.Valid([]byte(config.AllocationPayload)):
		return errors.New("--payload is not JSON: give what a custom allocation returns, such as {\"site\":\"north\"}")
	case config.RetryAfter <= 0:
		return fmt.Errorf("--retry-after is %s: it must be above 0, such as 3s", config.RetryAfter)
	case config.AnswerDelay < 0:
		return fmt.Errorf("--answer-delay is %s: it must be 0 or more, such as 50ms", config.AnswerDelay)
	case config.HubConnections < 0:
		return fmt.Errorf("--hub-connections is %d: it must be a number a second, or 0", config.HubConnections)
	case o.messageMemory < 0 || o.messageMemory > mostMessageMemory:
		return fmt.Errorf("--message-memory is %d: it must be 1 to %d MiB, or 0 for no limit", o.messageMemory,
			mostMessageMemory)
	case config.Registrations < 0:
		return fmt.Errorf("--registrations is %d: it must be a number a minute, or 0", config.Registrations)
	case config.Port < 0 || config.Port > lastPort:
		return fmt.Errorf("--port is %d: it must be 1 to %d, or 0 for any free ports", config.Port, lastPort)
	case o.controlPort < 0 || o.controlPort > 65535:
		return fmt.Errorf("--control-port is %d: it must be 1 to 65535, or 0 for any free port", o.controlPort)
	case strings.HasSuffix(o.caFile, ".p12"):
		return errors.New("--ca-file ends with .p12, which is the end of the PKCS#12 file beside it: " +
			"give the name of a PEM file, such as failover-ca.pem")
	case config.OwnAddresses && config.ListenHost != "":
		return errors.New("--own-addresses sets the addresses to listen on: leave --listen out")
	case config.OwnAddresses:
		return nil
	case config.Host == "" || ip != nil && ip.IsUnspecified():
		return fmt.Errorf("--host is %q: give the address to which devices connect", config.Host)
	case ip == nil && !emulator.IsHostName(config.Host):
		return fmt.Errorf("--host is %q: give a name or an address that a certificate can contain, without a port",
			config.Host)
	case !config.AnyAddress && config.ListenHost != "" && !isLoopback(config.ListenHost):
		return reachableError("--listen", config.ListenHost)
	case !config.AnyAddress && config.ListenHost == "" && !isLoopback(config.Host):
		return reachableError("--host", config.Host)
	}
	return nil
}

// complete changes checked flags to what they mean in the configuration.
func (o *emulatorOptions) complete() {
	o.config.AnyAddress = true // check has refused addresses that are not allowed
	if o.config.AnswerDelay == 0 {
		o.config.AnswerDelay = emulator.NoAnswerDelay
	}
}

func reachableError(flag, host string) error {
	return fmt.Errorf("%s %s can be reached by other machines, and the emulator's keys are public: "+
		"add --any-address to allow that", flag, host)
}

// A printf prints one line.
type printf func(format string, values ...any)

func (o emulatorOptions) run(ctx context.Context, out io.Writer) (err error) {
	// The log has a goroutine of its own, so that the cloud does not wait for the reader of out.
	log := observe.NewFan(func(r observe.Record) { fmt.Fprintln(out, escaped(r.Message)) })
	log.Start()
	defer closeLog(log)
	say := func(format string, values ...any) {
		log.Emit(observe.Record{Kind: observe.Note, Message: fmt.Sprintf(format, values...)})
	}
	ledger := &ledgerFile{}
	defer ledger.close()
	o.config.Observe = func(e emulator.Event) {
		if err := ledger.follow(e); err != nil {
			say("--ledger-file: %v", err)
		}
		say("%s", eventLine(e))
	}
	if o.caFile, err = filepath.Abs(o.caFile); err != nil { // a device may run in another directory
		return fmt.Errorf("--ca-file: %w", err)
	}
	o.config.AuthorityFile = o.authorityPath(say)
	o.config.WriteLater = true
	o.config.LedgerLimit = int64(o.messageMemory) << 20
	started := false
	if o.dataDir != "" {
		leave, err := lockDataDir(o.dataDir)
		if err != nil {
			return fmt.Errorf("--data: %w", err)
		}
		defer func() { leave(started) }()
		o.config.DataFile = filepath.Join(o.dataDir, "cloud.json")
	}
	cloud, err := o.startCloud()
	if err != nil {
		return err
	}
	defer cloud.Close()
	if err := service.Serve(cloud); err != nil {
		return err
	}
	api, err := o.openControlAPI(cloud)
	if err != nil {
		return err
	}
	defer api.Close()
	if err := o.writeFiles(cloud, api, ledger, say); err != nil {
		return err
	}
	started = true
	cloud.StartSaving()
	printServices(cloud, say)
	printSettings(cloud, o.caFile, say)
	<-ctx.Done()
	return nil
}

func (o emulatorOptions) startCloud() (*emulator.Cloud, error) {
	cloud, err := emulator.Start(o.config)
	if errors.Is(err, syscall.EADDRINUSE) && !o.config.OwnAddresses {
		err = fmt.Errorf("%w; give another --port, or 0 for any free ports", err)
	}
	return cloud, err
}

// writeFiles writes the control file and the files of the authority, and opens the ledger. It is called when all
// ports are open, so that an emulator that cannot start leaves the files of another one alone.
func (o emulatorOptions) writeFiles(cloud *emulator.Cloud, api *control.Server, ledger *ledgerFile, say printf) error {
	ca, err := o.stageAuthority(cloud)
	if err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	defer ca.discard()
	controlFile, err := o.announce(api, say)
	if err != nil {
		return fmt.Errorf("--control-file: %w", err)
	}
	if err := ledger.open(o.ledgerFile, cloud); err != nil {
		return fmt.Errorf("--ledger-file: %w", err)
	}
	if err := ca.commit(); err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	say("# Control API: %s (token in %s)", api.URL(), controlFile)
	return nil
}

// printServices prints the connection strings of the service APIs. Their keys are derived from the
// public group key.
func printServices(cloud *emulator.Cloud, say printf) {
	say("# For back ends and az --login; the keys are public, like the group key:")
	for _, endpoint := range append(cloud.HubNames(), emulator.TargetDPS) {
		text, err := cloud.ServiceConnectionString(endpoint)
		if err != nil {
			continue // cannot happen for the cloud's own endpoints
		}
		name := "hub " + endpoint
		if endpoint == emulator.TargetDPS {
			name = endpoint
		}
		say("# %s: %s", name, text)
	}
}

// printSettings prints the settings of a device as shell commands: those for the clients of others,
// and then those of failover run. It prints only the group key, which is public.
func printSettings(cloud *emulator.Cloud, caFile string, say printf) {
	say("# Hub A is %s, hub B is %s.", cloud.Hub("A"), cloud.Hub("B"))
	say("# Settings for other clients; failover emulator trust and failover emulator device print more:")
	export := func(name, value string) { say("export %s=%s", name, quoted(value)) }
	for _, v := range cloud.Variables(trustStoreFile(caFile)) {
		export(v.Name, v.Value)
	}
	say("# Settings for failover run:")
	export("FAILOVER_PROVISIONING_HOST", cloud.DPSName())
	export("FAILOVER_ID_SCOPE", cloud.IDScope())
	export("FAILOVER_DEVICE_ID", "dev1")
	export("FAILOVER_GROUP_KEY", cloud.GroupKey())
	export("FAILOVER_CA_FILE", caFile)
}

// openControlAPI opens the control API on the host of DPS.
func (o emulatorOptions) openControlAPI(cloud *emulator.Cloud) (*control.Server, error) {
	host, _, err := net.SplitHostPort(cloud.DPSHost())
	if err != nil {
		return nil, err
	}
	api, err := control.Start(control.Config{
		Cloud: cloud, Host: host, ListenHost: o.config.ListenHost, Port: o.controlPort,
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; give another --control-port, or 0 for any free port", err)
	}
	return api, err
}

// announce writes the control file and returns its path. If another running emulator owns the
// default file, announce writes a file whose name contains the port. A file of another running
// emulator that --control-file names is an error.
func (o emulatorOptions) announce(api *control.Server, say printf) (file string, err error) {
	if file = o.controlFile; file == "" {
		file, err = control.DefaultFile()
	}
	if err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return "", err
	}
	err = api.WriteFile(file)
	var other *control.RunningError
	if !errors.As(err, &other) {
		return file, err
	}
	if o.controlFile != "" {
		return "", fmt.Errorf("%w; give another file", err)
	}
	own := strings.TrimSuffix(file, ".json") + "-" + api.Port() + ".json"
	if err := api.WriteFile(own); err != nil {
		return "", err
	}
	say("# Another emulator runs at %s. Setting for failover lizard and failover central to use this one:", other.URL)
	say("export FAILOVER_CONTROL_FILE=%s", quoted(own))
	return own, nil
}

// authorityPath returns the file of the certificate authority, or "" if there is no directory for it.
func (o emulatorOptions) authorityPath(say printf) string {
	if o.authorityFile != "" {
		return o.authorityFile
	}
	base, err := stateHome()
	if err != nil {
		say("# The certificate authority lasts until the emulator ends, because no directory can keep it: %v", err)
		return ""
	}
	return filepath.Join(base, "failover-emulator", "authority.pem")
}

// quoted returns text as one word of a shell command.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
