package demo

import (
	"fmt"
	"io"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

// A Balance compares the readings that the device accepted with those that the cloud received.
type Balance struct {
	Accepted, Delivered int // numbers of distinct readings
	Missing, Duplicates int
	Recoveries          []machine.Record // the records of the outages' outcomes

	acceptedIDs []string
}

func (b *Balance) count(ledger []emulator.Delivery) {
	got := map[string]int{}
	for _, d := range ledger {
		got[d.MessageID]++
	}
	b.Accepted = len(b.acceptedIDs)
	b.Delivered = len(got)
	for _, id := range b.acceptedIDs {
		if got[id] == 0 {
			b.Missing++
		}
		b.Duplicates += max(0, got[id]-1)
	}
}

// Complete reports whether exactly the accepted readings were delivered.
func (b Balance) Complete() bool { return b.Missing == 0 && b.Accepted == b.Delivered }

// Print prints the balance for a person.
func (b Balance) Print(out io.Writer) {
	fmt.Fprintf(out, "\nReadings: %d accepted, %d delivered, %d missing, %d delivered twice.\n",
		b.Accepted, b.Delivered, b.Missing, b.Duplicates)
	for _, r := range b.Recoveries {
		fmt.Fprintf(out, "Recovery: %s in %s.\n", r.Outcome, time.Duration(r.SpentMS)*time.Millisecond)
	}
}
