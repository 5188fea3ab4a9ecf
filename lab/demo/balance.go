package demo

import (
	"fmt"
	"io"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

// A Balance compares what the device says it took with what the cloud says it got.
type Balance struct {
	Taken, Delivered    int // distinct readings
	Missing, Duplicates int
	Recoveries          []machine.Record // the outcomes

	takenIDs []string
}

func (b *Balance) count(ledger []emulator.Delivery) {
	got := map[string]int{}
	for _, d := range ledger {
		got[d.MessageID]++
	}
	b.Taken = len(b.takenIDs)
	b.Delivered = len(got)
	for _, id := range b.takenIDs {
		if got[id] == 0 {
			b.Missing++
		}
		b.Duplicates += max(0, got[id]-1)
	}
}

// Good tells whether what was taken is what was delivered.
func (b Balance) Good() bool { return b.Missing == 0 && b.Taken == b.Delivered }

// Print prints the balance for a person.
func (b Balance) Print(out io.Writer) {
	fmt.Fprintf(out, "\nReadings: %d taken, %d delivered, %d missing, %d delivered twice.\n", b.Taken, b.Delivered, b.Missing, b.Duplicates)
	for _, r := range b.Recoveries {
		fmt.Fprintf(out, "Recovery: %s in %s.\n", r.Outcome, time.Duration(r.SpentMS)*time.Millisecond)
	}
}
