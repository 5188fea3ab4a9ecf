package machine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

// A program that embeds a device. Here the cloud is the emulator. Against Azure, Identity comes from the
// portal, RootCAs is left out, and a StateDir keeps readings over a restart.
func Example() {
	cloud, err := emulator.Start(emulator.Config{RetryAfter: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()

	delivered := make(chan string, 1)
	device, err := machine.New(machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: cloud.DPSHost(),
			IDScope:          cloud.IDScope(),
			RegistrationID:   "thermostat-1",
			Key:              machine.GroupKey(cloud.GroupKey(), "thermostat-1"),
		},
		Storage: machine.Storage{InMemory: true},
		Link:    machine.Link{RootCAs: cloud.CAPool},
		Handlers: machine.Handlers{
			Desired: func(_ context.Context, name machine.PropertyName, value json.RawMessage) (machine.PropertyAck,
				error) {
				fmt.Printf("the cloud asks for %s = %s\n", name, value)
				return machine.PropertyAck{Description: "done"}, nil
			},
		},
		Observers: []func(machine.Record){func(r machine.Record) {
			switch r.Kind {
			case machine.RecordTransition:
				fmt.Println(r.From, "->", r.To)
			case machine.RecordDelivered:
				delivered <- r.ID
			}
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	ended := make(chan error)
	go func() { ended <- device.Run(ctx) }()

	// Send does not wait for a hub: the reading is kept until one has acknowledged it.
	id, err := device.Send(ctx,
		machine.Reading{Body: []byte(`{"temp":21.5}`), Properties: map[string]string{"room": "attic"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("delivered what was sent:", <-delivered == id.String())

	if err := device.Close(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ended:", <-ended)
	// Output:
	// Unprovisioned -> Provisioning
	// Provisioning -> Connecting
	// Connecting -> Connected
	// delivered what was sent: true
	// Connected -> Closing
	// ended: <nil>
}
