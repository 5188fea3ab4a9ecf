package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/sensor"
	"giantlizard.example/failover/transport"
)

const defaultProvisioningHost = "global.azure-devices-provisioning.net"

// settings are what the flags, the environment and the env file say.
type settings struct {
	sources                             []source
	envFileRead                         string // empty if there is none
	warnings                            []error
	provisioningHost, idScope, deviceID string
	modelID, modelKey                   string
	caFile, stateDir, envFile           string
	authorities                         *authorities // of caFile
	telemetryInterval, propertyInterval time.Duration
	drainRate                           float64
	window                              int
	logFormat, logLevel                 string
	stdin, inOrder                      bool
	durability                          durability
	queue                               outbox.Limits
	queueFull                           string
	off                                 [5]bool
	closeTimeout, handlerTimeout        time.Duration
	ackTimeout                          time.Duration
	tokenLife                           time.Duration
	link                                transport.Link
	policy                              machine.Policy
}

// A group of flags stands under its own title in the help.
type group struct {
	title string
	flags *pflag.FlagSet
}

// offFlags are what can be switched off, in the order of settings.off.
var offFlags = []struct {
	flag, what string
	kind       hub.Kinds
}{
	{"no-telemetry", "telemetry", hub.Telemetry},
	{"no-reported-properties", "reported properties", hub.Reported},
	{"no-desired-properties", "desired properties", hub.Desired},
	{"no-methods", "direct methods", hub.Methods},
	{"no-commands", "cloud-to-device commands", hub.Commands},
}

func (s *settings) groups() []group {
	who, what, kept, where := newFlags(), newFlags(), newFlags(), newFlags()
	who.StringVar(&s.provisioningHost, "provisioning-host", defaultProvisioningHost, "DPS, as `host` or host:port")
	who.StringVar(&s.idScope, "id-scope", "", "ID scope of the DPS instance")
	who.StringVar(&s.deviceID, "device-id", "", "registration `ID` of the device, best in lower case")
	who.String("group-key-file", "", "`file` with the enrollment group's key; the key itself: FAILOVER_GROUP_KEY")
	who.String("device-key-file", "", "`file` with the device's own key; the key itself: FAILOVER_DEVICE_KEY")
	who.StringVar(&s.modelID, "model-id", sensor.ModelID, "DTDL model that the device follows")
	who.StringVar(&s.modelKey, "model-key", "modelId", "`name` of the model in the registration payload: modelId or iotcModelId")

	what.BoolVar(&s.stdin, "stdin", false, "take readings from standard input, as JSON lines, instead of making them up")
	what.DurationVar(&s.telemetryInterval, "telemetry-interval", 5*time.Second, "time between readings")
	what.DurationVar(&s.propertyInterval, "property-interval", 15*time.Second, "time between battery reports")
	what.Float64Var(&s.drainRate, "drain-rate", 10, "readings a second from the backlog after an outage; 0: as fast as the hub takes them")
	what.IntVar(&s.window, "window", 64, "readings on their way at once, at most, and 128 KiB of them and one more")
	for i, k := range offFlags {
		what.BoolVar(&s.off[i], k.flag, false, "switch "+k.what+" off")
	}
	what.DurationVar(&s.ackTimeout, "ack-timeout", time.Minute, "a hub that answers pings but acknowledges no reading for this long is left")
	what.DurationVar(&s.handlerTimeout, "handler-timeout", 30*time.Second, "deadline of a method, command or property handler")
	what.DurationVar(&s.closeTimeout, "close-timeout", 5*time.Second, "time to send what waits after SIGINT, SIGTERM or SIGHUP")

	kept.Var(&s.durability, "durability", "always: what is accepted is on the disk; memory: it dies with the process; or a `time`\nsuch as 10s, after which it is on the disk and is sent: kinder to flash, and a power cut\ncosts what came since")
	kept.IntVar(&s.queue.Readings, "queue-readings", 1_000_000, "readings that wait, at most")
	kept.IntVar(&s.queue.Bytes, "queue-bytes", 256<<20, "`bytes` that they take, at most")
	kept.DurationVar(&s.queue.Age, "queue-age", 0, "readings that wait for longer are given up; 0: never")
	kept.StringVar(&s.queueFull, "queue-full", string(outbox.DropOldest), "what a full queue does: drop-oldest, drop-newest or block")
	kept.BoolVar(&s.inOrder, "in-order", false, "after an outage send the oldest readings first, instead of the newest")

	where.StringVar(&s.stateDir, "state-dir", "", "`directory` for what must outlive a restart (default ~/.local/state/failover/<device ID>)")
	where.StringVar(&s.caFile, "ca-file", "", "PEM `file` with certificate authorities to trust beside the system's")
	where.StringVar(&s.envFile, "env-file", ".env", "`file` with settings as in the environment, which comes first")
	where.StringVar(&s.logFormat, "log-format", "console", "console or json")
	where.StringVar(&s.logLevel, "log-level", "info", "debug (every reading), info or warn")

	return []group{
		{"Who the device is:", who}, {"What it does:", what}, {"How readings wait for a hub:", kept}, {"Where things are:", where},
		{"When it gives up and comes back:", s.timing()},
	}
}

func (s *settings) timing() *pflag.FlagSet {
	f := newFlags()
	f.DurationVar(&s.link.ConnectTimeout, "connect-timeout", 5*time.Second, "a peer that says nothing for this long while connecting is given up,"+
		" and after six times as long in any case")
	f.DurationVar(&s.link.KeepAlive, "keep-alive", 6*time.Second, "ping when nothing was read for this long, in whole seconds")
	f.DurationVar(&s.link.Silence, "silence", 12*time.Second, "a link on which nothing was read for this long is dead")
	f.DurationVar(&s.tokenLife, "token-life", time.Hour, "life of a SAS token; the device reconnects after 80 to 85 % of it")
	f.DurationVar(&s.policy.Hold, "hold", 20*time.Second, "a connection that lasted this long resets the back-off")
	f.DurationVar(&s.policy.FirstWait, "first-wait", time.Second, "first back-off, drawn between 0 and this")
	f.DurationVar(&s.policy.LastWait, "last-wait", time.Minute, "longest back-off")
	f.DurationVar(&s.policy.AfterSilence, "after-silence", 2*time.Second, "bound on the quick attempt at a hub that fell silent")
	f.DurationVar(&s.policy.FirstRest, "first-rest", time.Minute, "first rest after DPS has refused the device")
	f.DurationVar(&s.policy.LastRest, "last-rest", 15*time.Minute, "longest rest")
	f.DurationVar(&s.policy.Spread, "spread", 0, "over this a fleet spreads its first attempts: at the start, and when all lose their hub")
	return f
}

func newFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.SortFlags = false
	return f
}

// settingsHelp is part of the help.
const settingsHelp = `Each flag has a variable: --id-scope is FAILOVER_ID_SCOPE. Flags come first, then the environment, then the env file.
A flag that is given and empty is an error; an empty variable counts as unset. Files are regular files
with text in UTF-8, and ~/ at the beginning of a path is the home directory. What the shell hands over, such
as <(command) or /dev/stdin, is read once, at the start; other files with keys are read at each dial.`

// register adds the groups to a command and lets its help show them apart.
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
