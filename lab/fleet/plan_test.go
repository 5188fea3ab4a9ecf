package fleet_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/fleet"
	"giantlizard.example/failover/lab/slow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tenThousand is a fleet on one S1 hub.
var tenThousand = fleet.Plan{
	Devices: 10_000, HubConnections: 100, Registrations: 1000, Outage: fleet.Returns, Away: time.Minute,
	RetryAfter: 3 * time.Second, Seed: 1,
}

// thousand is a tenth of that fleet, and of its limits.
func thousand() fleet.Plan {
	p := tenThousand
	p.Devices, p.HubConnections, p.Registrations = 1000, 10, 100
	return p
}

func TestAFleetIsBackLittleLaterThanItsHubAllows(t *testing.T) {
	slow.Test(t)
	for seed := range uint64(2) {
		p := tenThousand
		p.Seed = seed
		r := p.Results()[0]
		if r.Back != p.Devices || r.All > 136*time.Second {
			t.Errorf("seed %d: %d devices are back after %v; the limit is %v", seed, r.Back, r.All, p.Limit())
		}
		if r.Peak > p.HubConnections*3/2 {
			t.Errorf("seed %d: %d attempts in a second", seed, r.Peak)
		}
	}
}

func TestAMoveOfAFleetTakesLittleLongerThanDPSAllows(t *testing.T) {
	p := thousand()
	p.Outage = fleet.Moved
	r := p.Results()[0]
	if r.Back != p.Devices || r.All > p.Limit()*3/2 {
		t.Errorf("%d devices are back after %v; the limit is %v", r.Back, r.All, p.Limit())
	}
}

func TestEveryPolicyIsCompared(t *testing.T) {
	results := thousand().Results()
	for _, r := range results {
		t.Logf("%+v", r)
		if r.Back != thousand().Devices || r.Half > r.All || r.Peak == 0 || r.Attempts < r.Back {
			t.Errorf("%+v", r)
		}
	}
	if own, fixed := results[0], results[2]; own.Peak >= fixed.Peak || own.Attempts >= fixed.Attempts {
		t.Errorf("with the spread there are as many attempts as without: %+v, %+v", own, fixed)
	}
}

func TestTheSameSeedGivesTheSamePlan(t *testing.T) {
	once, again := thousand().Results(), thousand().Results()
	for i := range once {
		if once[i] != again[i] {
			t.Errorf("%+v, then %+v", once[i], again[i])
		}
	}
}
