// Command updating is an example of a device with an added state, Updating. The direct method "update" leads
// to this state: the device keeps its session, reports the progress of the update, answers no other calls,
// and then returns to the state Connected.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"

	"giantlizard.example/failover/machine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &updater{}, os.Getenv("FAILOVER_DEVICE_ID")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, u *updater, id string) error {
	roots, err := machine.RootsFromFile(os.Getenv("FAILOVER_CA_FILE"))
	if err != nil {
		return err
	}
	device, err := machine.New(machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: os.Getenv("FAILOVER_PROVISIONING_HOST"), IDScope: os.Getenv("FAILOVER_ID_SCOPE"),
			RegistrationID: id, Key: machine.GroupKey(os.Getenv("FAILOVER_GROUP_KEY"), id),
		},
		Storage: machine.Storage{InMemory: true}, Link: machine.Link{RootCAs: roots},
		Handlers: machine.Handlers{Method: u.method}, Table: u.table,
		Observers: []func(machine.Record){func(r machine.Record) { fmt.Println(r.Message) }},
	})
	if err != nil {
		return err
	}
	return device.Run(ctx)
}

type updater struct{ device *machine.Device }

func (u *updater) table(device *machine.Device, t machine.Table) machine.Table {
	u.device = device
	return t.With([]machine.StateSpec{
		{Name: "Updating", Doc: "Installs an update over the session that it has.", Do: u.work},
	}, []machine.Transition{
		{From: machine.Connected, On: "update", To: "Updating", Doc: "the method update was called"},
		{From: "Updating", On: "updated", To: machine.Connected, Doc: "the update is installed"},
		{From: "Updating", On: machine.Lost, To: machine.Failover, Doc: "the session ended during the update"},
		{From: "Updating", On: machine.Renew, To: machine.Connecting, Doc: "the token nears its end"},
	})
}

func (u *updater) method(ctx context.Context, name string, _ json.RawMessage) (int, any, error) {
	if name != "update" {
		return 404, nil, fmt.Errorf("there is no method %q", name)
	}
	return 202, nil, u.device.Fire(ctx, "update")
}

func (u *updater) work(ctx context.Context, _ machine.Change) (machine.Event, error) {
	return u.device.WithSession(ctx, "updated", u.install)
}

// install is a placeholder for the real update. ctx also ends when the session ends.
func (u *updater) install(ctx context.Context) error {
	for percent := 0; percent <= 100; percent += 25 {
		err := u.device.Report(ctx, map[string]any{"update": map[string]any{"percent": percent}})
		if err == nil {
			err = u.device.Flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
