//go:build !nolab

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/central"
)

const emulatorMessagesHelp = "messages prints each telemetry message that the hubs of a running emulator have " +
	"stored, as one JSON\n" +
	"line, and waits for new ones until SIGINT or SIGTERM. A message has the properties that an Event Hubs\n" +
	"consumer of the hub sees. Its body is JSON, text or base64, as \"bodyType\" says.\n\n" +
	"A message's \"cursor\" is the position behind it: with --after a restarted consumer gets each later\n" +
	"message. A line with \"missed\" instead of a message says how many messages are no longer kept. A\n" +
	"cursor of an earlier start of the emulator is refused, because its messages are gone.\n\n" +
	"A filter that is given several times matches each of its values. The command finds the emulator\n" +
	"through its control file; set FAILOVER_CONTROL_FILE if that is not the default file.\n\n" + clientExitCodes

// messageFlags are the flags of emulator messages.
type messageFlags struct {
	query    central.MessageQuery
	noFollow bool
	count    int
}

func emulatorMessages() *cobra.Command {
	var m messageFlags
	c := &cobra.Command{
		Use: "messages", Short: "Print the messages that devices have sent to a running emulator, and follow them",
		Args: cobra.NoArgs, Long: emulatorMessagesHelp,
		Example: "  failover emulator messages --device dev1 | jq .body\n" +
			"  failover emulator messages --property line=4 --after now --count 10\n" +
			"  failover emulator messages --no-follow --hub B",
		RunE: func(c *cobra.Command, _ []string) error {
			if m.count < 0 {
				return usage(fmt.Errorf("--count is %d: it must be a number of messages, or 0 for no limit", m.count))
			}
			cfg, err := readEnvironment()
			if err != nil {
				return err
			}
			client, err := cfg.emulator()
			if err != nil {
				return err
			}
			return m.print(untilSignal(c.Context()), client, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVarP(&m.query.Devices, "device", "d", nil, "only messages of this device, by its `ID`")
	f.StringArrayVar(&m.query.Hubs, "hub", nil, "only messages that this hub has stored, by its `name`")
	f.StringArrayVar(&m.query.Properties, "property", nil,
		"only messages with this application or system property: `NAME`, or NAME=VALUE")
	f.StringVar(&m.query.After, "after", "",
		"only messages behind this `cursor`; now means new messages (default: all that are kept)")
	f.BoolVar(&m.noFollow, "no-follow", false, "end after the messages that are kept")
	f.IntVar(&m.count, "count", 0, "end after this `number` of messages; 0 means no limit")
	return c
}

// errEnough ends the stream after --count messages.
var errEnough = errors.New("enough messages")

// print prints messages until ctx ends, the reader of out has gone, or as many are printed as the flags say.
func (m messageFlags) print(ctx context.Context, client *central.Client, out io.Writer) error {
	m.query.Follow = !m.noFollow
	cursor, printed := m.query.After, 0
	err := client.Messages(ctx, m.query, func(e central.MessageEvent) error {
		if e.Data != "" {
			if _, err := fmt.Fprintln(out, e.Data); err != nil {
				return err
			}
			if e.Kind == "" {
				printed++
			}
		}
		cursor = e.Cursor
		if m.count > 0 && printed == m.count {
			return errEnough
		}
		return nil
	})
	var answered *central.Error
	switch {
	case ctx.Err() != nil, errors.Is(err, errEnough), errors.Is(err, syscall.EPIPE):
		return nil
	case errors.Is(err, central.ErrStreamEnded):
		return fmt.Errorf("%w; the last cursor is %s", err, cursor)
	case errors.As(err, &answered) && answered.Status == http.StatusBadRequest:
		return usage(err)
	}
	return err
}
