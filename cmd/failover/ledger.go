package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/ledger"
)

func ledgerCommand() *cobra.Command {
	var k stateFlags
	c := &cobra.Command{
		Use: "ledger FILE", Short: "Compare what a device took with what its hubs received", GroupID: "device", Args: cobra.ExactArgs(1),
		Long: "ledger compares the state directory of a device with FILE (- for standard input): the emulator's --ledger-file, or an export\n" +
			"of the messages from a consumer of the real hubs, as JSON. It exits with 5 when a reading is lost: taken, neither\n" +
			"delivered nor waiting, and given up neither by the policy nor into the quarantine. A reading that was put back from there\n" +
			"has a new ID, and its old one stays quarantined. Of what was given up for one reason the newest 4,096 ranges of IDs are\n" +
			"known; where there were more, the IDs that are shown as lost may be others than those that are. A line of FILE that cannot be\n" +
			"read, as a full disk leaves it, is skipped and counted; a delivery in it counts for nothing.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := k.snapshot(c)
			if err != nil {
				return err
			}
			in, err := openInput(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			defer in.Close()
			received := ledger.ReadReceipts(in)
			r := ledger.Compare(s, received.All())
			if err := received.Err(); err != nil {
				return err
			}
			r.Unreadable = received.Damaged()
			if r.Unreadable > 0 && r.Delivered+r.Duplicates+r.Foreign == 0 {
				return fmt.Errorf("%s holds no message that can be read: give a ledger, or an export, as JSON", args[0])
			}
			if err := printReport(c.OutOrStdout(), r, k.format); err != nil {
				return err
			}
			if r.Lost > 0 {
				return &codedError{exitLost, lostError(r)}
			}
			return nil
		},
	}
	k.register(c)
	return c
}

// lostError says how many readings are lost, and where they may be all the same.
func lostError(r ledger.Report) error {
	if r.Unreadable > 0 {
		return fmt.Errorf("%d readings are lost, unless they are in the %d lines that cannot be read", r.Lost, r.Unreadable)
	}
	return fmt.Errorf("%d readings are lost", r.Lost)
}

func printReport(out io.Writer, r ledger.Report, format string) error {
	if format == "json" {
		return json.NewEncoder(out).Encode(r)
	}
	var b strings.Builder
	row := func(name string, n uint64) { fmt.Fprintf(&b, "%-28s %d\n", name, n) }
	row("taken", r.Accepted)
	row("delivered", r.Delivered)
	row("waiting", r.Pending)
	row("missing", r.Missing)
	for _, why := range r.Reasons() {
		row("  given up ("+escaped(why)+")", r.Dropped[why])
	}
	row("  quarantined", r.Quarantined)
	row("  lost", r.Lost)
	for _, ids := range r.LostIDs {
		fmt.Fprintf(&b, "    %s\n", escaped(ids))
	}
	row("duplicates", r.Duplicates)
	row("out of order within a lane", r.OutOfOrder)
	row("of other devices or epochs", r.Foreign)
	if r.Unreadable > 0 {
		row("lines that cannot be read", r.Unreadable)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
