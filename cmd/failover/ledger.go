package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/ledger"
)

const ledgerHelp = "ledger compares the state directory of a device with FILE (- means standard input). FILE is the\n" +
	"emulator's --ledger-file, or a JSON export of the messages that a consumer of the real hubs\n" +
	"received. The exit code is 5 if a reading is lost: it was accepted, and is neither delivered,\n" +
	"pending, dropped by the policy nor quarantined.\n\n" +
	"A requeued reading has a new ID; its old ID stays quarantined. The device keeps the newest 4,096\n" +
	"ranges of dropped IDs for each reason. If there were more, the number of lost readings is right, but\n" +
	"the IDs shown may be wrong.\n\n" +
	"A line of FILE that cannot be read, such as one that a full disk cut off, is skipped and counted. A\n" +
	"delivery in such a line is unknown."

func ledgerCommand() *cobra.Command {
	var f stateFlags
	c := &cobra.Command{
		Use: "ledger FILE", Short: "Compare the readings that a device accepted with those that its hubs received",
		GroupID: "device", Args: cobra.ExactArgs(1), Long: ledgerHelp,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := f.snapshot(c)
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
				return fmt.Errorf("%s contains no readable message: give a ledger file or an export as JSON", args[0])
			}
			if err := printReport(c.OutOrStdout(), r, f.format); err != nil {
				return err
			}
			if r.Lost > 0 {
				return &codedError{exitLost, lostError(r)}
			}
			return nil
		},
	}
	f.register(c)
	return c
}

// lostError returns the error for lost readings. It says so if unreadable lines may contain them.
func lostError(r ledger.Report) error {
	if r.Unreadable > 0 {
		return fmt.Errorf("%d readings are lost, unless they are in the %d unreadable lines", r.Lost, r.Unreadable)
	}
	return fmt.Errorf("%d readings are lost", r.Lost)
}

func printReport(out io.Writer, r ledger.Report, format string) error {
	if format == "json" {
		return json.NewEncoder(out).Encode(r)
	}
	var b strings.Builder
	row := func(name string, n uint64) { fmt.Fprintf(&b, "%-28s %d\n", name, n) }
	row("accepted", r.Accepted)
	row("delivered", r.Delivered)
	row("pending", r.Pending)
	row("missing", r.Missing)
	for _, why := range r.Reasons() {
		row("  dropped ("+escaped(why)+")", r.Dropped[why])
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
		row("unreadable lines", r.Unreadable)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
