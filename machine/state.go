package machine

import (
	"errors"
	"fmt"
	"path/filepath"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/statefile"
)

// What outlives a restart is in the state directory: assignment.json, commands.json and the outbox.

// openState takes the state directory and opens what is in it. One that cannot be written keeps no device from working.
func (d *Device) openState() error {
	d.unlock = func() {}
	if d.StateDir != "" {
		unlock, err := statefile.Lock(d.StateDir)
		switch {
		case errors.Is(err, statefile.ErrLocked):
			return fmt.Errorf("machine: %w; end that one, or give this device a directory of its own", err)
		case err != nil:
			d.Warn(err)
		default:
			d.unlock = unlock
		}
	}
	if d.Outbox != nil {
		return nil
	}
	if d.StateDir == "" || d.InMemory {
		d.Outbox = outbox.NewMemory(d.Limits, outbox.ID{}, d.dropped)
		return nil
	}
	log, err := outbox.Open(filepath.Join(d.StateDir, "outbox"), outbox.Options{
		Limits: d.Limits, Sync: d.SyncEvery, Now: d.Link.Now, Dropped: d.dropped, Warn: d.Warn,
	})
	if err != nil {
		d.unlock()
		return fmt.Errorf("machine: %w", err)
	}
	d.Outbox, d.durable = log, true
	return nil
}

func (d *Device) closeState() error {
	err := d.Outbox.Close()
	d.unlock()
	return err
}

// stateFile is where something is kept over a restart, or "".
func (d *Device) stateFile(name string) string {
	if d.StateDir == "" {
		return ""
	}
	return filepath.Join(d.StateDir, name)
}

func (d *Device) cache() provisioning.Cache {
	return provisioning.Cache{
		Path: d.stateFile("assignment.json"), Host: d.ProvisioningHost, IDScope: d.IDScope, RegistrationID: d.RegistrationID,
	}
}

func (d *Device) dropped(drop outbox.Drop) {
	d.drops.Add(int64(drop.Numbers.Count()))
	d.emit(Record{
		Level: observe.Warn, Kind: observe.Dropped, ID: drop.IDs(), Cause: string(drop.Reason()), Error: drop.Why.Error(),
	})
}
