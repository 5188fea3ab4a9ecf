package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/statefile"
)

// What outlives a restart is in the state directory: device.json, assignment.json, clock.json, commands.json,
// twin.json, and the outbox or, where readings wait in memory, epoch.json.

// An epoch is what an outbox in memory ended with, so that the first reading of the next one can name it.
type epoch struct {
	Epoch string `json:"epoch"`
	Last  uint64 `json:"last"`
}

// An owner is the device whose state it is.
type owner struct {
	RegistrationID string `json:"registrationId"`
}

// openState takes the state directory and opens what is in it.
func (d *Device) openState() error {
	if err := d.takeDir(); err != nil {
		return err
	}
	if d.outbox != nil {
		return nil
	}
	if d.dir == nil || d.Storage.InMemory {
		d.openMemory()
		return nil
	}
	before := d.takeEpoch()
	log, err := outbox.Open(d.outboxDir(), outbox.Options{
		Limits: d.Storage.Limits, Sync: d.Storage.SyncEvery, Previous: before, Owner: d.dir, Dropped: d.dropped, Warn: d.Warn,
		Now: d.clock.set, Elapsed: d.clock.uptime, SetSince: d.clock.setSincePut,
	})
	if err != nil {
		d.saveEpoch(before) // it was not told
		d.dir.Close()
		return fmt.Errorf("machine: %w", err)
	}
	d.outbox, d.durable = log, true
	d.log.Store(log)
	d.loadRuns(log.Newest())
	return nil
}

func (d *Device) openMemory() {
	before, onDisk := d.takeEpoch(), d.leftOnDisk()
	if before == (outbox.ID{}) {
		before = onDisk
	}
	memory := outbox.NewMemory(d.Storage.Limits, before, d.dropped)
	memory.Elapsed = d.clock.uptime
	d.outbox, d.leaveEpoch = memory, func() {
		if newest := memory.Newest(); newest.N > 0 {
			before = newest
		}
		d.saveEpoch(before)
	}
}

// takeDir locks the state directory and makes sure that it is this device's. Unless both are certain, nothing in it is used.
func (d *Device) takeDir() error {
	if d.Storage.StateDir == "" {
		return nil
	}
	d.dir = statefile.NewDir(d.Storage.StateDir, d.claim, d.Warn)
	err := d.dir.Acquire()
	var foreign *foreignError
	var other *statefile.VersionError
	switch {
	case err == nil:
		err = d.stateFile("device.json").Save(owner{d.Identity.RegistrationID})
		if err != nil {
			d.Warn(err)
		}
		return nil
	case errors.As(err, &foreign):
		return err
	case errors.As(err, &other):
		return fmt.Errorf("machine: %w", err)
	case errors.Is(err, statefile.ErrLocked):
		return fmt.Errorf("machine: %w; end that one, or give this device a directory of its own", err)
	case d.Storage.InMemory:
		d.Warn(fmt.Errorf("%w; nothing is kept there", err))
		d.dir = nil
		return nil
	case d.isUnused(): // nothing is pending in it; Put and Save try to take it again
		d.Warn(fmt.Errorf("%w; %s; until then no reading is accepted", err, statefile.Advice(err, "make the state directory writable")))
		return nil
	}
	return fmt.Errorf("machine: %w; %s", err, statefile.Advice(err,
		"use a directory on a file system with locks that this process may write, or keep readings in memory"))
}

// isUnused reports whether nothing was ever kept in the state directory.
func (d *Device) isUnused() bool {
	entries, err := os.ReadDir(d.Storage.StateDir)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && len(entries) == 0
}

// A foreignError refuses the directory of another device: what is pending in it would be sent in this one's name.
type foreignError struct {
	text   string
	unread error // why nobody knows whose it is; nil: it is another's
}

func (e *foreignError) Error() string {
	return "machine: " + e.text + "; " + statefile.Advice(e.unread, "give this device a directory of its own")
}

// claim returns an error unless the directory, which was just locked, is this device's or nothing is
// pending in it. What a later version has kept there is an error too: this one would write over it.
func (d *Device) claim() error {
	for _, name := range []string{"device.json", "assignment.json", "clock.json", "commands.json", "twin.json", "epoch.json"} {
		if err := statefile.Check(d.stateFile(name).Path()); err != nil {
			return err
		}
	}
	var o owner
	ok, err := statefile.At(d.stateFile("device.json").Path()).Load(&o)
	if err != nil {
		d.Warn(err)
	}
	who := o.RegistrationID
	if !ok {
		who = provisioning.OwnerOf(d.stateFile("assignment.json").Path())
	}
	switch {
	case strings.EqualFold(who, d.Identity.RegistrationID): // to DPS, case is nothing
		return nil
	case who != "":
		return &foreignError{text: fmt.Sprintf("%s holds what waits for device %.128q", d.Storage.StateDir, who)}
	}
	pending, err := d.pending()
	switch {
	case errors.As(err, new(*statefile.VersionError)):
		return err
	case err != nil:
		return &foreignError{fmt.Sprintf("%s does not say whose it is, and cannot be read: %v", d.Storage.StateDir, err), err}
	case pending != "":
		return &foreignError{text: fmt.Sprintf("%s holds %s of a device that it does not name: device.json is missing or damaged",
			d.Storage.StateDir, pending)}
	}
	return nil
}

// pending names what the state directory has kept for a hub, or returns "" if that is nothing.
func (d *Device) pending() (string, error) {
	s, err := outbox.Read(d.outboxDir())
	if err != nil {
		return "", err
	}
	if log := d.log.Load(); log != nil && s.Epoch == log.Epoch() {
		return "", nil // they are this device's own, and somebody has removed device.json while it runs
	}
	if s.Readings > 0 {
		return fmt.Sprintf("%d pending readings", s.Readings), nil
	}
	if _, err := os.Stat(d.stateFile("twin.json").Path()); err == nil {
		return "pending reported properties", nil
	}
	return "", nil
}

// watchState looks after the state directory until ctx ends.
func (d *Device) watchState(ctx context.Context) {
	tick := time.NewTicker(statefile.RepairInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.dir.Repair()
		}
	}
}

// closeState closes what is in the state directory and gives it back. It returns how many accepted readings are lost with the
// process.
func (d *Device) closeState() (lost int, err error) {
	d.saver.wait()
	if d.dir != nil {
		defer d.dir.Close()
		d.dir.Repair() // so that what is said below is true
	}
	d.endReports()
	err = d.outbox.Close()
	if d.leaveEpoch != nil {
		d.leaveEpoch()
	}
	left, _ := d.outbox.Pending()
	if left == 0 || !d.durable || errors.Is(err, statefile.ErrReplaced) {
		return left, err
	}
	d.Warn(fmt.Errorf("machine: %d readings are pending in %s and will be sent at the next start", left, d.Storage.StateDir))
	return 0, err
}

func (d *Device) endReports() {
	n, kept := d.hub.End()
	if kept && d.dir != nil && d.dir.Verify() != nil {
		kept = false
	}
	switch {
	case n > 0 && kept:
		d.Warn(fmt.Errorf("machine: %d reported properties are pending in %s and will be sent at the next start", n, d.Storage.StateDir))
	case n > 0:
		d.Warn(fmt.Errorf("machine: %d reported properties were not sent before the end; what still holds must be reported again", n))
	}
}

// takeEpoch reads the epoch before and removes the file: a process that is killed does not know what it ended with.
func (d *Device) takeEpoch() outbox.ID {
	var e epoch
	file := d.stateFile("epoch.json")
	_, err := file.Load(&e)
	if err != nil {
		d.Warn(err)
	}
	if removed := file.Remove(); err == nil && removed != nil {
		e = epoch{} // it would be read again
	}
	return outbox.ID{Epoch: e.Epoch, N: e.Last}
}

// leftOnDisk is the last ID of an outbox on the disk, which this start does not use.
func (d *Device) leftOnDisk() outbox.ID {
	if d.dir == nil {
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

func (d *Device) outboxDir() string { return filepath.Join(d.Storage.StateDir, "outbox") }

func (d *Device) saveEpoch(newest outbox.ID) {
	if newest == (outbox.ID{}) {
		return
	}
	if err := d.stateFile("epoch.json").Save(epoch{newest.Epoch, newest.N}); err != nil {
		d.Warn(err)
	}
}

// stateFile is a file that outlives a restart, or the zero File.
func (d *Device) stateFile(name string) statefile.File {
	if d.dir == nil {
		return statefile.File{}
	}
	return d.dir.File(name)
}

func (d *Device) cache() provisioning.Cache {
	return provisioning.Cache{File: d.stateFile("assignment.json"), Identity: d.Identity}
}

func (d *Device) dropped(drop outbox.Drop) {
	count := drop.Numbers.Count()
	d.drops.Add(int64(count))
	r := Record{Level: observe.Warn, Kind: observe.Dropped, ID: drop.IDs(), Cause: string(drop.Reason())}
	r.Error = drop.Why.Error()
	if count > 1 {
		r.Count = int(min(count, math.MaxInt32)) // a damaged file may name any number
	}
	d.emit(r)
}
