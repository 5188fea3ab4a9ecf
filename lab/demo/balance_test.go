package demo

import (
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

func TestABalanceTellsWhatIsMissingFromWhatCameTwice(t *testing.T) {
	for _, c := range []struct {
		taken, delivered string
		want             string
		good             bool
	}{
		{"", "", "0 taken, 0 delivered, 0 missing, 0 delivered twice", true},
		{"a b c", "a b c", "3 taken, 3 delivered, 0 missing, 0 delivered twice", true},
		{"a b c", "c b a", "3 taken, 3 delivered, 0 missing, 0 delivered twice", true},
		{"a b c", "a b c b b", "3 taken, 3 delivered, 0 missing, 2 delivered twice", true},
		{"a b c", "a a c", "3 taken, 2 delivered, 1 missing, 1 delivered twice", false},
		{"a b", "a x", "2 taken, 2 delivered, 1 missing, 0 delivered twice", false},
		{"a", "a x", "1 taken, 2 delivered, 0 missing, 0 delivered twice", false},
	} {
		b := Balance{takenIDs: strings.Fields(c.taken)}
		var ledger []emulator.Delivery
		for _, id := range strings.Fields(c.delivered) {
			ledger = append(ledger, emulator.Delivery{MessageID: id})
		}
		b.count(ledger)
		var out strings.Builder
		b.Print(&out)
		if !strings.Contains(out.String(), c.want) || b.Good() != c.good {
			t.Errorf("%q taken, %q delivered: %sgood: %t", c.taken, c.delivered, &out, b.Good())
		}
	}
}

func TestABalanceNamesTheRecoveries(t *testing.T) {
	var out strings.Builder
	Balance{Recoveries: []machine.Record{{Outcome: "failed over", SpentMS: 3004}}}.Print(&out)
	if !strings.Contains(out.String(), "Recovery: failed over in 3.004s.\n") {
		t.Error(out.String())
	}
}
