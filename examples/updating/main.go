// Command updating is a device with a state of its own: while it updates itself it keeps the session, reports its
// progress, takes no other calls, and then goes on as before. The direct method "update" starts it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/transport"
)

const updating machine.State = "Updating"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	roots, err := transport.RootsFromFile(os.Getenv("FAILOVER_CA_FILE"))
	if err != nil {
		return err
	}
	var device *machine.Device
	id := os.Getenv("FAILOVER_DEVICE_ID")
	device, err = machine.New(machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: os.Getenv("FAILOVER_PROVISIONING_HOST"),
			IDScope:          os.Getenv("FAILOVER_ID_SCOPE"),
			RegistrationID:   id,
			Key: func() (transport.Key, error) {
				key, err := transport.ParseKey(os.Getenv("FAILOVER_GROUP_KEY"))
				return key.Derive(id), err
			},
		},
		Storage: machine.Storage{InMemory: true},
		Link:    machine.Link{RootCAs: transport.FixedRoots(roots)},
		Handlers: machine.Handlers{
			Method: func(ctx context.Context, name string, _ json.RawMessage) (int, any, error) {
				if name != "update" {
					return 404, nil, fmt.Errorf("there is no method %q", name)
				}
				return 202, nil, device.Fire(ctx, "update")
			},
		},
		Observers: []func(machine.Record){func(r machine.Record) { fmt.Println(r.Message) }},
		Table: func(t machine.Table) machine.Table {
			return t.With([]machine.StateSpec{
				{Name: updating, Doc: "Installs an update over the session it has.", Do: func(ctx context.Context, _ machine.Change) (machine.Event, error) {
					return update(ctx, device)
				}},
			}, []machine.Transition{
				{From: machine.Connected, On: "update", To: updating, Doc: "the method update was called"},
				{From: updating, On: "updated", To: machine.Connected, Doc: "the update is installed"},
				{From: updating, On: machine.Lost, To: machine.Failover, Doc: "the session ended under the update"},
			})
		},
	})
	if err != nil {
		return err
	}
	return device.Run(ctx)
}

// update stands for the real work. Report merges, Flush sends; a session that ends meanwhile is Flush's error.
func update(ctx context.Context, device *machine.Device) (machine.Event, error) {
	for percent := 0; percent <= 100; percent += 25 {
		if err := device.Report(ctx, map[string]any{"update": map[string]any{"percent": percent}}); err != nil {
			return machine.Stay, err
		}
		if err := device.Flush(ctx); err != nil {
			return machine.Lost, err
		}
	}
	return "updated", nil
}
