package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/statefile"
)

// What outlives a restart is in the state directory: device.json, assignment.json, commands.json, twin.json, and the outbox or, where
// readings wait in memory, epoch.json.

// An epoch is what an outbox in memory ended with, so that the first reading of the next one can name it.
type epoch struct {
	Epoch string `json:"epoch"`
	Last  uint64 `json:"last"`
}

// An owner is the device whose state it is.
type owner struct {
	RegistrationID string `json:"registrationId"`
}

// openState takes the state directory and opens what is in it. One that cannot be written keeps no device from working.
func (d *Device) openState() error {
	d.unlock = func() {}
	if err := d.checkVersions(); err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	if d.StateDir != "" {
		unlock, err := statefile.Lock(d.StateDir)
		switch {
		case errors.Is(err, statefile.ErrLocked):
			return fmt.Errorf("machine: %w; end that one, or give this device a directory of its own", err)
		case err != nil:
			d.Warn(err)
		default:
			d.unlock = unlock
			if err := d.claim(); err != nil {
				unlock()
				return err
			}
		}
	}
	if d.Outbox != nil {
		return nil
	}
	if d.StateDir == "" || d.InMemory {
		before, onDisk := d.takeEpoch(), d.leftOnDisk()
		if before == (outbox.ID{}) {
			before = onDisk
		}
		memory := outbox.NewMemory(d.Limits, before, d.dropped)
		d.Outbox, d.leaveEpoch = memory, func() {
			if newest := memory.Newest(); newest.N > 0 {
				before = newest
			}
			d.saveEpoch(before)
		}
		return nil
	}
	before := d.takeEpoch()
	log, err := outbox.Open(d.outboxDir(), outbox.Options{
		Limits: d.Limits, Sync: d.SyncEvery, Before: before, Now: d.Link.Now, Dropped: d.dropped, Warn: d.Warn,
	})
	if err != nil {
		d.saveEpoch(before) // it was not told
		d.unlock()
		return fmt.Errorf("machine: %w", err)
	}
	d.Outbox, d.durable = log, true
	return nil
}

// checkVersions refuses a directory in which a file needs a later version of failover: what this one would write takes its place.
func (d *Device) checkVersions() error {
	if d.StateDir == "" {
		return nil
	}
	for _, name := range []string{"device.json", "assignment.json", "commands.json", "twin.json", "epoch.json"} {
		if err := statefile.Check(d.stateFile(name)); err != nil {
			return err
		}
	}
	return nil
}

// claim refuses the directory of another device: what waits in it would be sent in this one's name.
func (d *Device) claim() error {
	path, o := d.stateFile("device.json"), owner{}
	switch ok, err := statefile.Load(path, &o); {
	case err != nil:
		d.Warn(err)
	case ok && !strings.EqualFold(o.RegistrationID, d.RegistrationID): // to DPS, case is nothing
		return fmt.Errorf("machine: %s holds what waits for device %.128q; give this device a directory of its own", d.StateDir, o.RegistrationID)
	case ok:
		return nil
	}
	if err := statefile.Save(path, owner{d.RegistrationID}); err != nil {
		d.Warn(err)
	}
	return nil
}

func (d *Device) closeState() error {
	d.endReports()
	err := d.Outbox.Close()
	if d.leaveEpoch != nil {
		d.leaveEpoch()
	}
	d.unlock()
	return err
}

func (d *Device) endReports() {
	switch n, kept := d.hub.End(); {
	case n > 0 && kept:
		d.Warn(fmt.Errorf("machine: %d reported properties wait in %s for the next start", n, d.StateDir))
	case n > 0:
		d.Warn(fmt.Errorf("machine: %d reported properties were not sent before the end; what still holds must be reported again", n))
	}
}

// takeEpoch reads the epoch before and removes the file: a process that is killed does not know what it ended with.
func (d *Device) takeEpoch() outbox.ID {
	var e epoch
	if path := d.stateFile("epoch.json"); path != "" {
		_, err := statefile.Load(path, &e)
		if err != nil {
			d.Warn(err)
		}
		if removed := os.Remove(path); err == nil && removed != nil && !errors.Is(removed, fs.ErrNotExist) {
			e = epoch{} // it would be read again
		}
	}
	return outbox.ID{Epoch: e.Epoch, N: e.Last}
}

// leftOnDisk is the last ID of an outbox on the disk, which this start does not use.
func (d *Device) leftOnDisk() outbox.ID {
	if d.StateDir == "" {
		return outbox.ID{}
	}
	s, err := outbox.Read(d.outboxDir())
	if err != nil {
		d.Warn(fmt.Errorf("machine: what a start before this one has kept: %w", err))
		return outbox.ID{}
	}
	if s.Readings > 0 {
		d.Warn(fmt.Errorf("machine: %d readings wait in %s, and this start keeps its own in memory; one that keeps them on the disk will send those",
			s.Readings, d.outboxDir()))
	}
	if s.Last == 0 {
		return outbox.ID{}
	}
	return outbox.ID{Epoch: s.Epoch, N: s.Last}
}

func (d *Device) outboxDir() string { return filepath.Join(d.StateDir, "outbox") }

func (d *Device) saveEpoch(newest outbox.ID) {
	path := d.stateFile("epoch.json")
	if path == "" || newest == (outbox.ID{}) {
		return
	}
	if err := statefile.Save(path, epoch{newest.Epoch, newest.N}); err != nil {
		d.Warn(err)
	}
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
	count := drop.Numbers.Count()
	d.drops.Add(int64(count))
	r := Record{Level: observe.Warn, Kind: observe.Dropped, ID: drop.IDs(), Cause: string(drop.Reason()), Error: drop.Why.Error()}
	if count > 1 {
		r.Count = int(min(count, math.MaxInt32)) // a damaged file may name any number
	}
	d.emit(r)
}
