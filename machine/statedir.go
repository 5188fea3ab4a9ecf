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
	"sync/atomic"
	"syscall"
	"time"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/statefile"
)

// A stateDir keeps what must outlive the process: in the state directory device.json, assignment.json, clock.json,
// commands.json, twin.json, and the outbox or, if readings are kept in memory, epoch.json. It has the outbox in
// memory too, and works without a directory.
type stateDir struct {
	Storage
	identity Identity
	clock    *clock
	records  *recorder
	dir      *statefile.Dir // nil means that nothing outlives the process
	outbox   outbox.Outbox
	log      atomic.Pointer[outbox.Log] // the outbox if it is on the disk, for claim, which any goroutine may call
	newest   atomic.Value               // of assignment.json; nil until DPS has answered in this run
	saver    *statefile.Newest[any]     // of newest
	drops    atomic.Int64               // dropped readings

	leaveEpoch func() // stores the last ID of an outbox in memory for the next one; nil means that there is none
	savedRuns  runs   // belongs to the goroutine that watches the clock, as does the next
	runsFailed bool   // they could not be saved, which a record has said
}

// An epoch is the last ID of an outbox in memory, which the first reading of the next one names.
type epoch struct {
	Epoch string `json:"epoch"`
	Last  uint64 `json:"last"`
}

// An owner is the device to which a state directory belongs.
type owner struct {
	RegistrationID string `json:"registrationId"`
}

// openStateDir locks the state directory and opens what is in it. box is an outbox of a test's, or nil.
func openStateDir(of Settings, c *clock, records *recorder, box outbox.Outbox) (*stateDir, error) {
	s := &stateDir{Storage: of.Storage, identity: of.Identity, clock: c, records: records, outbox: box}
	if err := s.lock(); err != nil {
		return nil, err
	}
	s.saver = statefile.NewNewest(s.file("assignment.json"), s.newest.Load)
	s.saver.Report = func(err error) {
		if err != nil {
			s.warn(fmt.Errorf("machine: store the assignment: %w; "+
				"make the state directory writable, or the next start asks DPS again", err))
		}
	}
	switch {
	case s.outbox != nil:
	case s.dir == nil || s.InMemory:
		s.openMemory()
	default:
		return s, s.openLog()
	}
	return s, nil
}

func (s *stateDir) openLog() error {
	previous := s.takeEpoch()
	log, err := outbox.Open(s.outboxDir(), outbox.Options{
		Limits: s.Limits, Sync: s.SyncEvery, Previous: previous, Owner: s.dir, Dropped: s.dropped, Warn: s.warn,
		Now: s.clock.set, Elapsed: s.clock.uptime, SetSince: s.clock.setSincePut,
	})
	if err != nil {
		s.saveEpoch(previous) // no reading has named it
		s.dir.Close()
		return fmt.Errorf("machine: %w", err)
	}
	s.outbox = log
	s.log.Store(log)
	s.loadRuns(log.Newest())
	return nil
}

func (s *stateDir) openMemory() {
	previous, onDisk := s.takeEpoch(), s.leftOnDisk()
	if previous == (ID{}) {
		previous = onDisk
	}
	memory := outbox.NewMemory(outbox.Options{
		Limits: s.Limits, Previous: previous, Dropped: s.dropped, Elapsed: s.clock.uptime,
	})
	s.outbox, s.leaveEpoch = memory, func() {
		if newest := memory.Newest(); newest.N > 0 {
			previous = newest
		}
		s.saveEpoch(previous)
	}
}

func (s *stateDir) warn(err error) { s.records.warn("", err) }

// lock locks the state directory and makes sure that it belongs to this device. Unless both are certain,
// nothing in it is used.
func (s *stateDir) lock() error {
	if s.StateDir == "" {
		return nil
	}
	s.dir = statefile.NewDir(s.StateDir, s.claim, s.warn)
	err := s.dir.Acquire()
	switch {
	case err == nil:
		if err := s.file("device.json").Save(owner{s.identity.RegistrationID}); err != nil {
			s.warn(err)
		}
		return nil
	case errors.As(err, new(*foreignError)):
		return err
	case errors.As(err, new(*statefile.VersionError)):
		return fmt.Errorf("machine: %w", err)
	case errors.Is(err, statefile.ErrLocked):
		return fmt.Errorf("machine: %w; end that one, or give this device a directory of its own", err)
	case s.InMemory:
		s.warn(fmt.Errorf("%w; nothing is kept there", err))
		s.dir = nil
		return nil
	case s.isUnused(): // nothing is pending in it; Put and Save try to lock it again
		s.warn(fmt.Errorf("%w; %s; until then no reading is accepted",
			err, statefile.Advice(err, "make the state directory writable")))
		return nil
	}
	return fmt.Errorf("machine: %w; %s", err, statefile.Advice(err,
		"use a directory on a file system with locks that this process may write, or keep readings in memory"))
}

// isUnused reports whether nothing was ever kept in the state directory.
func (s *stateDir) isUnused() bool {
	entries, err := os.ReadDir(s.StateDir)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && len(entries) == 0
}

// A foreignError refuses the directory of another device, because what is pending in it would be sent in the
// name of this one.
type foreignError struct {
	text   string
	unread error // why the owner is not known; nil means that it is another device
}

func (e *foreignError) Error() string {
	return "machine: " + e.text + "; " + statefile.Advice(e.unread, "give this device a directory of its own")
}

// claim returns an error unless the directory, which was just locked, belongs to this device or has nothing pending. A
// file of a later version is an error too, because this version would overwrite it.
func (s *stateDir) claim() error {
	for _, name := range []string{
		"device.json", "assignment.json", "clock.json", "commands.json", "twin.json", "epoch.json",
	} {
		if err := statefile.Check(s.file(name).Path()); err != nil {
			return err
		}
	}
	var o owner
	ok, err := statefile.At(s.file("device.json").Path()).Load(&o)
	if err != nil {
		s.warn(err)
	}
	id := o.RegistrationID
	if !ok {
		id = provisioning.OwnerOf(s.file("assignment.json").Path())
	}
	switch {
	case strings.EqualFold(id, s.identity.RegistrationID): // DPS ignores case
		return nil
	case id != "":
		return &foreignError{text: fmt.Sprintf("%s holds what is pending for device %.128q", s.StateDir, id)}
	}
	pending, err := s.pending()
	switch {
	case errors.As(err, new(*statefile.VersionError)):
		return err
	case err != nil:
		text := fmt.Sprintf("%s does not say to which device it belongs, and cannot be read: %v", s.StateDir, err)
		return &foreignError{text, err}
	case pending != "":
		return &foreignError{text: fmt.Sprintf("%s holds %s of a device that it does not name: "+
			"device.json is missing or damaged", s.StateDir, pending)}
	}
	return nil
}

// pending names what the state directory keeps for a hub, or returns "" if that is nothing.
func (s *stateDir) pending() (string, error) {
	kept, err := outbox.Read(s.outboxDir())
	if err != nil {
		return "", err
	}
	if log := s.log.Load(); log != nil && kept.Epoch == log.Epoch() {
		return "", nil // they are this device's own: somebody has removed device.json while it runs
	}
	if kept.Readings > 0 {
		return fmt.Sprintf("%d pending readings", kept.Readings), nil
	}
	if _, err := os.Stat(s.file("twin.json").Path()); err == nil {
		return "pending reported properties", nil
	}
	return "", nil
}

// watch repairs the state directory until ctx ends.
func (s *stateDir) watch(ctx context.Context) {
	if s.dir == nil {
		return
	}
	tick := time.NewTicker(statefile.RepairInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.dir.Repair()
		}
	}
}

// close closes the hub's files and the outbox, and unlocks the state directory. lost is how many accepted
// readings are lost with the process.
func (s *stateDir) close(h *hub.Hub) (lost int, err error) {
	s.saver.Close()
	if s.dir != nil {
		defer s.dir.Close()
		s.dir.Repair() // so that the records below are true
	}
	s.closeReports(h)
	err = s.outbox.Close()
	if s.leaveEpoch != nil {
		s.leaveEpoch()
	}
	left, _ := s.outbox.Pending()
	if left == 0 || s.log.Load() == nil || errors.Is(err, statefile.ErrReplaced) {
		return left, err
	}
	s.warn(fmt.Errorf("machine: %d readings are pending in %s and will be sent at the next start", left, s.StateDir))
	return 0, err
}

func (s *stateDir) closeReports(h *hub.Hub) {
	n, kept := h.End()
	kept = kept && (s.dir == nil || s.dir.Verify() == nil)
	switch {
	case n > 0 && kept:
		s.warn(fmt.Errorf("machine: %d reported properties are pending in %s and will be sent at the next start",
			n, s.StateDir))
	case n > 0:
		s.warn(fmt.Errorf("machine: %d reported properties were not sent before the end; "+
			"report those that still hold again", n))
	}
}

// takeEpoch reads the epoch of an earlier run and removes the file, because a process that is killed cannot
// write its own.
func (s *stateDir) takeEpoch() ID {
	var e epoch
	file := s.file("epoch.json")
	_, err := file.Load(&e)
	if err != nil {
		s.warn(err)
	}
	if removed := file.Remove(); err == nil && removed != nil {
		e = epoch{} // the next start would read it again
	}
	return ID{Epoch: e.Epoch, N: e.Last}
}

func (s *stateDir) saveEpoch(newest ID) {
	if newest == (ID{}) {
		return
	}
	if err := s.file("epoch.json").Save(epoch{newest.Epoch, newest.N}); err != nil {
		s.warn(err)
	}
}

// leftOnDisk returns the last ID of the outbox that an earlier run left on the disk. This run keeps its
// readings in memory, and its own IDs must not repeat that ID.
func (s *stateDir) leftOnDisk() ID {
	if s.dir == nil {
		return ID{}
	}
	kept, err := outbox.Read(s.outboxDir())
	if err != nil {
		s.warn(fmt.Errorf("machine: read the outbox of an earlier run: %w", err))
		return ID{}
	}
	if kept.Readings > 0 {
		s.warn(fmt.Errorf("machine: %d readings are pending in %s, and this run keeps its own in memory; "+
			"a run that keeps readings on the disk will send them", kept.Readings, s.outboxDir()))
	}
	if kept.Last == 0 {
		return ID{}
	}
	return ID{Epoch: kept.Epoch, N: kept.Last}
}

func (s *stateDir) outboxDir() string { return filepath.Join(s.StateDir, "outbox") }

// file is a file of the state directory, or the zero File if there is none.
func (s *stateDir) file(name string) statefile.File {
	if s.dir == nil {
		return statefile.File{}
	}
	return s.dir.File(name)
}

func (s *stateDir) cache() provisioning.Cache {
	return provisioning.Cache{File: s.file("assignment.json"), Identity: s.identity}
}

// saveTimeout is how long a failover waits until the assignment is on the disk: a disk that hangs, as worn
// flash and network file systems do, must not delay it further.
const saveTimeout = time.Second

// store stores an assignment. It returns when that is done, has failed, or takes too long.
func (s *stateDir) store(a Assignment) {
	s.newest.Store(s.cache().Content(a))
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	if s.saver.Await(ctx, s.saver.Changed()) != nil {
		s.warn(fmt.Errorf("machine: the disk has not taken the assignment within %s; the device goes on without it, "+
			"and a start before it has been stored asks DPS again", saveTimeout))
	}
}

// dropped counts and records readings that the outbox has dropped.
func (s *stateDir) dropped(drop outbox.Drop) {
	count := drop.Numbers.Count()
	s.drops.Add(int64(count))
	r := Record{
		Level: observe.Warn, Kind: observe.Dropped, ID: drop.IDs(), Cause: string(drop.Reason()), Error: drop.Why.Error(),
	}
	if count > 1 {
		r.Count = int(min(count, math.MaxInt32)) // a damaged file may name any number
	}
	s.records.emit(r)
}
