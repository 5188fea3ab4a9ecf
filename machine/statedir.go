package machine

import (
	"cmp"
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
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/statefile"
)

// A stateDir owns the outbox and the files of the state directory: device.json, scope.json, assignment.json,
// clock.json, commands.json, twin.json, and the folder outbox or, if readings are kept in memory, epoch.json. A
// device without a state directory has a stateDir too; its outbox is in memory.
type stateDir struct {
	Storage
	identity Identity
	clock    *clock
	records  *recorder
	dir      *statefile.Dir // nil means that nothing outlives the process
	outbox   outbox.Outbox
	log      atomic.Pointer[outbox.Log] // the outbox if it is on the disk; atomic because any goroutine may call claim
	newest   atomic.Value               // newest content for assignment.json; nil until DPS has answered in this run
	saver    *statefile.Newest[any]     // writes newest to assignment.json
	drops    atomic.Int64               // number of dropped readings

	// leaveEpoch saves, for the next run, the last ID of an outbox in memory that no reading has named yet; nil
	// means that nothing is to be saved.
	leaveEpoch func()

	// The rest belongs to the goroutine that watches the clock.
	savedRuns  runs // last content of clock.json
	runsFailed bool // whether saving clock.json has failed and a record has reported the error
}

// An epoch is the content of epoch.json: the last ID of an outbox in memory. The next outbox names this ID in
// a property of its first reading.
type epoch struct {
	Epoch string `json:"epoch"`
	Last  uint64 `json:"last"`
}

// An owner is the content of device.json: the device to which the state directory belongs.
type owner struct {
	RegistrationID string `json:"registrationId"`
}

// openStateDir locks the state directory and opens the outbox. Tests pass an outbox as box; nil means the
// outbox that the settings describe.
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
		Now: s.clock.wallTime, Elapsed: s.clock.uptime, SetSince: s.clock.setSincePut,
	})
	if err != nil {
		s.saveEpoch(previous) // for the next start, because no reading has named this ID yet
		s.dir.Close()
		return refusal(err)
	}
	before := log.Last()
	s.outbox, s.leaveEpoch = log, func() {
		if log.Last() == before { // no reading was accepted that names this ID
			s.saveEpoch(previous)
		}
	}
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

// lock locks the state directory and checks that the directory belongs to this device. If either fails, the
// device uses no file in the directory.
func (s *stateDir) lock() error {
	if s.StateDir == "" {
		return nil
	}
	var err error
	if s.StateDir, err = filepath.Abs(s.StateDir); err != nil { // the program may change its working directory
		return fmt.Errorf("machine: the working directory: %w; give an absolute path to the state directory", err)
	}
	s.dir = statefile.NewDir(s.StateDir, s.claim, s.warn)
	err = s.dir.Acquire()
	switch {
	case err == nil:
		for name, content := range map[string]any{
			"device.json": owner{s.identity.RegistrationID}, "scope.json": s.scope(),
		} {
			if err := s.file(name).Save(content); err != nil {
				s.warn(err)
			}
		}
		return nil
	case errors.As(err, new(*foreignError)):
		return err
	case errors.As(err, new(*statefile.VersionError)), errors.Is(err, statefile.ErrLocked):
		return refusal(err)
	case s.InMemory:
		s.warn(fmt.Errorf("%w; nothing is kept there", err))
		s.dir = nil
		return nil
	case s.isUnused(): // the directory holds nothing pending; Put and Save try again to lock the directory
		s.warn(fmt.Errorf("%w; %s; until then no reading is accepted",
			err, statefile.Advice(err, "make the state directory writable")))
		return nil
	}
	return fmt.Errorf("machine: %w; %s", err, statefile.Advice(err,
		"use a directory on a file system with locks that this process may write, or keep readings in memory"))
}

// refusal returns the error of New. If another process uses the directory, it says what to do.
func refusal(err error) error {
	if errors.Is(err, statefile.ErrLocked) {
		return fmt.Errorf("machine: %w; end that process, or give this device a directory of its own", err)
	}
	return fmt.Errorf("machine: %w", err)
}

// isUnused reports whether the state directory is empty or does not exist.
func (s *stateDir) isUnused() bool {
	entries, err := os.ReadDir(s.StateDir)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && len(entries) == 0
}

// A foreignError refuses a state directory that belongs, or may belong, to another device. Otherwise this
// device would send the other device's readings as its own.
type foreignError struct {
	text   string
	advice string // "" means that the device needs another directory
	unread error  // error because of which the owner is not known; nil means that there was none
}

func (e *foreignError) Error() string {
	advice := cmp.Or(e.advice, "give this device a directory of its own")
	return "machine: " + e.text + "; " + statefile.Advice(e.unread, advice)
}

// claim checks the state directory, which was just locked. It returns an error if the directory belongs to
// another device, if it holds what is pending for another ID scope, or if it names no owner and holds pending
// readings or properties or cannot be read. A file that a later version has written is an error too, because
// this version would overwrite the file.
func (s *stateDir) claim() error {
	for _, name := range []string{
		"device.json", "scope.json", "assignment.json", "clock.json", "commands.json", "twin.json", "epoch.json",
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
		return s.checkScope()
	case id != "":
		return &foreignError{text: fmt.Sprintf("%s holds what is pending for device %.128q", s.StateDir, id)}
	}
	pending, err := s.pending()
	switch {
	case errors.As(err, new(*statefile.VersionError)):
		return err
	case err != nil:
		text := fmt.Sprintf("%s does not say to which device it belongs, and cannot be read: %v", s.StateDir, err)
		return &foreignError{text: text, unread: err}
	case pending != "":
		return &foreignError{text: fmt.Sprintf("%s holds %s of a device that it does not name: "+
			"device.json is missing or damaged", s.StateDir, pending)}
	}
	return nil
}

// pending describes the pending readings or reported properties in the state directory. It returns "" if
// nothing is pending.
func (s *stateDir) pending() (string, error) {
	kept, err := outbox.Read(s.outboxDir())
	if err != nil {
		return "", err
	}
	if log := s.log.Load(); log != nil && kept.Epoch == log.Epoch() {
		// The outbox that is open in this process has accepted these readings, so they belong to this device.
		// Somebody has removed device.json while the device runs.
		return "", nil
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

// close closes the hub's files and the outbox, and unlocks the state directory. lost is the number of
// accepted readings that are lost when the process ends.
func (s *stateDir) close(h *hub.Hub) (lost int, err error) {
	s.saver.Close()
	if s.dir != nil {
		defer s.dir.Close()
		s.dir.Repair() // before the records below say what the directory holds
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
			"report again the properties that are still true", n))
	}
}

// takeEpoch reads the epoch of an earlier run and removes epoch.json. If the file stayed and this process
// were killed, the next run would read an outdated epoch.
func (s *stateDir) takeEpoch() ID {
	var e epoch
	file := s.file("epoch.json")
	_, err := file.Load(&e)
	last := ID{Epoch: e.Epoch, N: e.Last}
	if err == nil && len(last.String()) > payloads.MaxMessageID {
		err = file.SetAside("damaged", errors.New("no device has given a reading so long an ID"))
	}
	if err != nil {
		last = ID{}
		s.warn(err)
	}
	if removed := file.Remove(); err == nil && removed != nil {
		last = ID{} // ignored, because the next start would read the same epoch again
	}
	return last
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
// readings in memory and names that ID as the previous one, unless epoch.json names another ID.
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

// file returns a file of the state directory, or the zero File if there is no directory.
func (s *stateDir) file(name string) statefile.File {
	if s.dir == nil {
		return statefile.File{}
	}
	return s.dir.File(name)
}

func (s *stateDir) cache() provisioning.Cache {
	return provisioning.Cache{File: s.file("assignment.json"), Identity: s.identity}
}

// saveTimeout bounds how long a failover waits until the assignment is on the disk. A disk that hangs, as
// worn flash and network file systems do, must not delay the failover further.
const saveTimeout = time.Second

// store saves an assignment to assignment.json. It returns when the file is written, writing has failed, or
// saveTimeout is over.
func (s *stateDir) store(a Assignment) {
	s.newest.Store(s.cache().Content(a))
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	if s.saver.Await(ctx, s.saver.Changed()) != nil {
		s.warn(fmt.Errorf("machine: the disk has not taken the assignment within %s; the device goes on, "+
			"and asks DPS again if it is restarted before the assignment is on the disk", saveTimeout))
	}
}

// dropped counts and records readings that the outbox has dropped.
func (s *stateDir) dropped(drop outbox.Drop) {
	count := drop.Numbers.Count()
	s.drops.Add(int64(count))
	r := Record{
		Level: observe.Warn, Kind: observe.Dropped, ID: drop.IDs(), Cause: string(drop.Reason()),
		Error: drop.Why.Error(),
	}
	if count > 1 {
		r.Count = int(min(count, math.MaxInt32)) // a damaged file may contain any number
	}
	s.records.emit(r)
}
