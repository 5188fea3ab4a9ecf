package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/sensor"
)

// A config holds the settings from the flags, the environment and the env file.
type config struct {
	device machine.Settings
	flagOf map[string]string // the flag of each field of device, by the field's path, such as "Delivery.Window"

	sources           []source
	envFileRead       string // path of the env file; empty if no env file was read
	warnings          []error
	authorities       *authorities // reads caFile; nil without caFile
	caFile, envFile   string
	logFormat         string
	logLevel          string
	stdin             bool
	telemetryInterval time.Duration
	propertyInterval  time.Duration
}

// newConfig returns a config with the defaults of all settings.
func newConfig() *config {
	d := machine.Settings{Identity: machine.Identity{ModelID: sensor.ModelID}}
	return &config{
		device: d.WithDefaults(), flagOf: map[string]string{}, envFile: ".env", logFormat: "console", logLevel: "info",
		telemetryInterval: 5 * time.Second, propertyInterval: 15 * time.Second,
	}
}

// A group of flags has its own title in the help.
type group struct {
	title string
	flags *pflag.FlagSet
}

// groups returns the flags of the run command. Each sets a field of the config.
func (cfg *config) groups() []group {
	return []group{
		{"Identity:", cfg.identityFlags()}, {"Delivery:", cfg.deliveryFlags()}, {"Queue:", cfg.queueFlags()},
		{"Timing:", cfg.timingFlags()}, {"Files and log:", cfg.fileFlags()},
	}
}

// bind adds a flag for the field of the device's settings that has this path. The flag's default is
// the field's.
func (cfg *config) bind(f *pflag.FlagSet, flag, path, usage string) {
	field := at(reflect.ValueOf(&cfg.device).Elem(), path)
	switch p := field.Addr().Interface().(type) {
	case *string:
		f.StringVar(p, flag, *p, usage)
	case *outbox.Policy:
		f.StringVar((*string)(p), flag, string(*p), usage)
	case *int:
		f.IntVar(p, flag, *p, usage)
	case *float64:
		f.Float64Var(p, flag, *p, usage)
	case *bool:
		f.BoolVar(p, flag, *p, usage)
	case *time.Duration:
		f.DurationVar(p, flag, *p, usage)
	default:
		panic(fmt.Sprintf("failover: no flag for a field of type %s", field.Type()))
	}
	cfg.flagOf[path] = flag
}

// at returns the field of a struct that has this path, such as "Delivery.Window".
func at(field reflect.Value, path string) reflect.Value {
	for name := range strings.SplitSeq(path, ".") {
		field = field.FieldByName(name)
	}
	return field
}

// bindValue adds a flag that sets several fields of the device's settings.
func (cfg *config) bindValue(f *pflag.FlagSet, flag string, value pflag.Value, usage string, paths ...string) {
	f.Var(value, flag, usage)
	for _, path := range paths {
		cfg.flagOf[path] = flag
	}
}

func (cfg *config) identityFlags() *pflag.FlagSet {
	f := newFlags()
	cfg.bind(f, "provisioning-host", "Identity.ProvisioningHost", "DPS, as `host` or host:port")
	cfg.bind(f, "id-scope", "Identity.IDScope", "ID scope of the DPS instance")
	cfg.bind(f, "device-id", "Identity.RegistrationID", "registration `ID` of the device, best in lower case")
	f.String("group-key-file", "", "`file` with the enrollment group's key; FAILOVER_GROUP_KEY holds the key itself")
	f.String("device-key-file", "", "`file` with the device's own key; FAILOVER_DEVICE_KEY holds the key itself")
	cfg.bind(f, "model-id", "Identity.ModelID", "DTDL model of the device")
	cfg.bind(f, "model-key", "Identity.ModelKey",
		"`name` of the model ID in the registration payload: modelId or iotcModelId")
	return f
}

func (cfg *config) deliveryFlags() *pflag.FlagSet {
	f := newFlags()
	f.BoolVar(&cfg.stdin, "stdin", false, "send readings from standard input, as JSON lines, instead of generated ones")
	f.DurationVar(&cfg.telemetryInterval, "telemetry-interval", cfg.telemetryInterval,
		"time between generated readings")
	f.DurationVar(&cfg.propertyInterval, "property-interval", cfg.propertyInterval, "time between battery reports")
	cfg.bindValue(f, "drain-rate", drainRate{&cfg.device.Delivery},
		"readings of the backlog sent a second after an outage; 0 means as fast as the hub takes them",
		"Delivery.DrainRate", "Delivery.Unpaced")
	cfg.bind(f, "window", "Delivery.Window",
		"maximum number of readings in flight; no other is sent while they take 128 KiB or more")
	cfg.bind(f, "in-order", "Delivery.InOrder", "after an outage send the oldest readings first, instead of the newest")
	for _, k := range kinds {
		cfg.bindValue(f, k.flag, offFlag{&cfg.device.Off, k.kind}, "disable "+k.what, "Off")
		f.Lookup(k.flag).NoOptDefVal = "true"
	}
	return f
}

func (cfg *config) queueFlags() *pflag.FlagSet {
	f := newFlags()
	cfg.bindValue(f, "durability", durability{&cfg.device.Storage},
		"always: accepted readings are on the disk; memory: they are lost when the process ends;\n"+
			"or a `time` such as 10s: readings are written and sent after at most this time, which\n"+
			"spares flash, but a power cut loses the readings of this time",
		"Storage.InMemory", "Storage.SyncEvery")
	cfg.bind(f, "queue-readings", "Storage.Limits.Readings", "maximum number of pending readings")
	cfg.bind(f, "queue-bytes", "Storage.Limits.Bytes", "maximum size of the pending readings, in `bytes`")
	cfg.bind(f, "queue-age", "Storage.Limits.Age",
		"maximum age of pending readings; older ones are dropped; 0 means no limit")
	cfg.bind(f, "queue-full", "Storage.Limits.Full", "what a full queue does: drop-oldest, drop-newest or block")
	return f
}

func (cfg *config) timingFlags() *pflag.FlagSet {
	f := newFlags()
	cfg.bind(f, "connect-timeout", "Link.ConnectTimeout",
		"timeout of the TCP connection, and of each response while connecting")
	cfg.bind(f, "keep-alive", "Link.KeepAlive", "time without received data before a ping is sent, in whole seconds")
	cfg.bind(f, "silence", "Link.Silence", "time without received data before the session ends")
	cfg.bind(f, "ack-timeout", "Delivery.AckTimeout",
		"time without an acknowledgement of a reading before the session ends")
	cfg.bind(f, "token-life", "Timing.TokenLife",
		"lifetime of a SAS token; the device reconnects after 80 to 85 % of it")
	cfg.bind(f, "handler-timeout", "Handlers.Timeout", "timeout of a method, command or property handler")
	cfg.bind(f, "close-timeout", "Timing.CloseTimeout", "time to send pending readings after SIGINT, SIGTERM or SIGHUP")
	cfg.bind(f, "wait-share", "Policy.Share", "part of an outage that passes between two attempts at a hub, or at DPS")
	cfg.bind(f, "hub-wait", "Policy.HubWait", "shortest time between two attempts at a hub")
	cfg.bind(f, "dps-wait", "Policy.DPSWait", "shortest time between two attempts at DPS")
	cfg.bind(f, "last-wait", "Policy.LastWait", "longest time between two attempts at a hub, or at DPS")
	cfg.bind(f, "hub-rate", "Policy.HubRate", "largest number of connections to one hub in a minute")
	cfg.bind(f, "dps-rate", "Policy.DPSRate", "largest number of connections to DPS in a minute")
	cfg.bind(f, "hold", "Policy.Hold", "a session that the hub ends sooner may be a sign of a second process")
	cfg.bind(f, "fight-closes", "Policy.FightCloses",
		"number of sessions that the hub ends before --hold until the device assumes a second process")
	cfg.bind(f, "fight-window", "Policy.FightWindow", "time that must pass until then")
	cfg.bind(f, "after-silence", "Policy.AfterSilence", "timeout of the first attempt at a hub that fell silent")
	cfg.bind(f, "last-connect", "Policy.LastConnect",
		"longest timeout of a response while connecting, to which it grows on a slow network")
	cfg.bind(f, "first-rest", "Policy.FirstRest",
		"first back-off after DPS refused the device, or because of a second process")
	cfg.bind(f, "last-rest", "Policy.LastRest", "maximum back-off after DPS refused the device")
	cfg.bind(f, "spread", "Policy.Spread",
		"for a device of a fleet: within this time each device tries the hub once, and DPS once\n"+
			"within six times as long")
	return f
}

func (cfg *config) fileFlags() *pflag.FlagSet {
	f := newFlags()
	cfg.bind(f, "state-dir", "Storage.StateDir",
		"`directory` for what must outlive a restart (default ~/.local/state/failover/<device ID>)")
	f.StringVar(&cfg.caFile, "ca-file", "", "PEM `file` with certificate authorities to trust besides the system's")
	f.StringVar(&cfg.envFile, "env-file", cfg.envFile, "`file` with settings as NAME=value lines")
	f.StringVar(&cfg.logFormat, "log-format", cfg.logFormat, "console or json")
	f.StringVar(&cfg.logLevel, "log-level", cfg.logLevel, "debug (with every reading), info or warn")
	return f
}

func newFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.SortFlags = false
	return f
}

// kinds holds each kind of data or calls that a flag can disable.
var kinds = []struct {
	flag, what string
	kind       hub.Kinds
}{
	{"no-telemetry", "telemetry", hub.Telemetry},
	{"no-reported-properties", "reported properties", hub.Reported},
	{"no-desired-properties", "desired properties", hub.Desired},
	{"no-methods", "direct methods", hub.Methods},
	{"no-commands", "cloud-to-device commands", hub.Commands},
}

// settingsHelp is the last part of the help of the run command.
const settingsHelp = `Each flag has a variable: --id-scope is FAILOVER_ID_SCOPE. A flag takes precedence over the
environment, and the environment over the env file. An empty flag is an error; an empty variable
counts as unset. Files are regular files with UTF-8 text; ~/ at the beginning of a path means the
home directory. Files with keys or certificates are read at each dial. A file that the shell passes
as a pipe, such as <(command) or /dev/stdin, is read once, at the start.`

// register adds the groups to a command and shows them separately in its help.
func register(c *cobra.Command, groups []group) {
	for _, g := range groups {
		c.Flags().AddFlagSet(g.flags)
	}
	c.SetUsageFunc(func(c *cobra.Command) error {
		out := c.OutOrStdout()
		fmt.Fprintf(out, "Usage:\n  %s\n", c.UseLine())
		for _, g := range groups {
			fmt.Fprintf(out, "\n%s\n%s", g.title, g.flags.FlagUsages())
		}
		fmt.Fprintf(out, "\nExample:\n%s\n\n%s\n", c.Example, settingsHelp)
		return nil
	})
}
