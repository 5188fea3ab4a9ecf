package demo

import (
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

func TestBalanceDistinguishesMissingReadingsFromDuplicates(t *testing.T) {
	for _, c := range []struct {
		accepted, delivered string
		want                string
		good                bool
	}{
		{"", "", "0 accepted, 0 delivered, 0 missing, 0 delivered twice", true},
		{"a b c", "a b c", "3 accepted, 3 delivered, 0 missing, 0 delivered twice", true},
		{"a b c", "c b a", "3 accepted, 3 delivered, 0 missing, 0 delivered twice", true},
		{"a b c", "a b c b b", "3 accepted, 3 delivered, 0 missing, 2 delivered twice", true},
		{"a b c", "a a c", "3 accepted, 2 delivered, 1 missing, 1 delivered twice", false},
		{"a b", "a x", "2 accepted, 2 delivered, 1 missing, 0 delivered twice", false},
		{"a", "a x", "1 accepted, 2 delivered, 0 missing, 0 delivered twice", false},
	} {
		b := Balance{acceptedIDs: strings.Fields(c.accepted)}
		var ledger []emulator.Delivery
		for _, id := range strings.Fields(c.delivered) {
			ledger = append(ledger, emulator.Delivery{MessageID: id})
		}
		b.count(ledger)
		var out strings.Builder
		b.Print(&out)
		if !strings.Contains(out.String(), c.want) || b.Complete() != c.good {
			t.Errorf("%q accepted, %q delivered: %sgood: %t", c.accepted, c.delivered, &out, b.Complete())
		}
	}
}

func TestBalanceListsTheRecoveries(t *testing.T) {
	var out strings.Builder
	Balance{Recoveries: []machine.Record{{Outcome: "failed over", SpentMS: 3004}}}.Print(&out)
	if !strings.Contains(out.String(), "Recovery: failed over in 3.004s.\n") {
		t.Error(out.String())
	}
}
