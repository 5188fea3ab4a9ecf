package quarantined_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/examples/quarantined"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestADeviceThatIsRefusedThreeTimesIsQuarantinedForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		cloud := emulator.ForTest(t, emulator.Config{Listen: network.Listen})
		var path []string
		device, err := machine.New(machine.Settings{
			Identity: machine.Identity{
				ProvisioningHost: cloud.DPSHost(), IDScope: cloud.IDScope(), RegistrationID: "dev1",
				Key: machine.DeviceKey("bm90IHRoaXMgZGV2aWNlJ3Mga2V5IGF0IGFsbA=="),
			},
			Storage: machine.Storage{InMemory: true},
			Link:    machine.Link{Dial: network.DialContext, RootCAs: cloud.CAPool},
			Table:   quarantined.After(3, 24*time.Hour),
			Observers: []func(machine.Record){func(r machine.Record) {
				if r.Kind == machine.RecordTransition {
					path = append(path, r.To)
				}
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour+time.Hour)
		defer cancel()
		if err := device.Run(ctx); err != nil {
			t.Error(err)
		}
		want := []string{
			"Provisioning", "Unprovisioned", "Provisioning", "Unprovisioned", "Provisioning", "Unprovisioned",
			"Quarantined", "Provisioning", "Unprovisioned",
		}
		if len(path) < len(want) || !slices.Equal(path[:len(want)], want) || path[len(path)-1] != "Closing" {
			t.Errorf("the path was %v", path)
		}
	})
}
