package fleet_test

import (
	"flag"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/fleet"
	"giantlizard.example/failover/lab/memnet"
)

var devices = flag.Int("devices", 0, "number of real devices that are compared with the plan, such as 1000")

// The limits have the proportions of a fleet of 10,000 devices on one S1 hub.
func TestThePlanAgreesWithRealDevices(t *testing.T) {
	if *devices == 0 {
		t.Skip("-devices")
	}
	for _, outage := range []fleet.Outage{fleet.Returns, fleet.Moved} {
		t.Run(string(outage), func(t *testing.T) {
			p := fleet.Plan{
				Devices: *devices, HubConnections: *devices / 100, Registrations: *devices / 10, Outage: outage,
				Away: time.Minute, RetryAfter: 3 * time.Second, Seed: 1,
			}
			want := p.Results()[0]
			var got *drill.FleetReport
			synctest.Test(t, func(t *testing.T) {
				network := memnet.New()
				f := drill.Fleet{
					Devices: p.Devices, Interval: 30 * time.Second, Spread: p.Spread(), Dial: network.DialContext,
					Cloud: emulator.Config{
						Listen: network.Listen, RetryAfter: p.RetryAfter, HubConnections: p.HubConnections,
						Registrations: p.Registrations,
					},
				}
				if outage == fleet.Returns {
					f.Away = p.Away
				}
				var err error
				if got, err = f.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if got.Missing > 0 || got.Violations > 0 || got.Died > 0 || got.Recovered != p.Devices {
				t.Errorf("%+v", got)
			}
			for name, times := range map[string][2]float64{
				"half of the fleet": {got.Recovery["p50"], want.Half.Seconds()},
				"all of it":         {got.Recovery["max"], want.All.Seconds()},
			} {
				if math.Abs(times[0]-times[1]) > 0.15*times[1] {
					t.Errorf("%s is back after %.1f s, and the plan says %.1f s", name, times[0], times[1])
				}
				t.Logf("%s is back after %.1f s, and the plan says %.1f s", name, times[0], times[1])
			}
		})
	}
}
