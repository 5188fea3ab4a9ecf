package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/statefile"
	"giantlizard.example/failover/transport"
)

// lastWords is what observers get to see the last records even when closing has used its time up.
const lastWords = 500 * time.Millisecond

// ErrSwitchedOff is what Send and Report return when Settings.Off has their kind.
var ErrSwitchedOff = errors.New("machine: switched off in the settings")

// A Device is one Azure IoT device. Run gives it life; its other methods may be called from any goroutine.
type Device struct {
	Settings
	machine *Machine
	hub     *hub.Hub
	outbox  outbox.Outbox
	fan     *observe.Fan
	stop    context.Context // ends with Close
	halt    context.CancelFunc
	started atomic.Bool
	unused  atomic.Bool                // closed before it ran
	ended   chan struct{}              // closed when Run returns
	winding sync.WaitGroup             // sessions that have ended but not wound up
	drops   atomic.Int64               // readings given up
	dir     *statefile.Dir             // the state directory; nil: nothing outlives the process
	durable bool                       // readings outlive the process
	log     atomic.Pointer[outbox.Log] // the outbox on the disk, for claim, which any goroutine may call

	leaveEpoch func()                        // for the next outbox in memory; nil: there is none
	key        atomic.Pointer[transport.Key] // the one that was read last
	assigned   atomic.Pointer[Assignment]    // a copy of assignment, for other goroutines
	saver      saver                         // of assignments
	clock      *clock

	// These are the goroutine's that watches the clock.
	savedRuns   runs
	runsUnsaved bool // and that was told

	// What follows belongs to the state that is being worked in, one at a time; so there is no mutex.

	// session is the device's one session. Whoever enters a state next takes it or drops it.
	session    *transport.Session
	assignment Assignment
	polls      provisioning.Polls
	term       term          // of the session's token
	cutShort   time.Time     // when the wall clock last ended a term before the monotonic one
	within     time.Duration // bound on the next attempt to connect; 0: the usual one
	history    history
	trial      trial     // of the wall clock
	clockSets  int       // how often it had been set when the latest attempt began
	freedAt    time.Time // when a rest last ended because it was set, by the steady clock
	outage     outage
	entered    time.Time // when the current state was entered
	closeBy    time.Time // when Closing must be over
}

// New checks the settings and makes a device.
func New(s Settings) (*Device, error) { return newDevice(s, nil) }

// newDevice makes a device with an outbox that a test gives, or nil for the one that the settings describe.
func newDevice(s Settings, box outbox.Outbox) (*Device, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("machine: settings: %w", err)
	}
	d := &Device{Settings: s.WithDefaults(), outbox: box, ended: make(chan struct{}), entered: time.Now()}
	d.fan = observe.NewFan(d.Observers...)
	d.saver.warn = d.Warn
	d.saver.save = func(a Assignment) error { return d.cache().Save(a) }
	d.clock = newClock(d.Link.Now, d.Timing.ClockFloor, d.entered)
	if err := d.openState(); err != nil {
		return nil, err
	}
	d.clock.earlier = d.outbox.Last()
	d.clock.put(d.clock.earlier)
	d.hub = hub.New(hub.Settings{
		Handlers: d.Handlers, Off: d.Off, Outbox: d.outbox, Delivery: d.Delivery,
		CompletedFile: d.stateFile("commands.json"),
		TwinFile:      d.stateFile("twin.json"), InMemory: d.Storage.InMemory, SyncEvery: d.Storage.SyncEvery,
		Emit: d.emit, Hide: d.hide, Date: d.clock.date,
	})
	table := d.table()
	if d.Settings.Table != nil {
		table = d.Settings.Table(table)
	}
	var err error
	d.machine, err = NewMachine(table, Hooks{Changed: d.changed, Refused: d.refusedEvent, Late: d.late})
	if err != nil {
		_, closed := d.closeState()
		return nil, errors.Join(err, closed)
	}
	d.stop, d.halt = context.WithCancel(context.Background())
	return d, nil
}

// Run lives the device's life until ctx ends or Close is called, and then closes it within Timing.CloseTimeout. It
// returns nil when every reading was delivered; a *LostError says how many were not.
func (d *Device) Run(ctx context.Context) error {
	if !d.started.CompareAndSwap(false, true) {
		if d.unused.CompareAndSwap(true, false) {
			return nil
		}
		return errors.New("machine: run: a device runs once; make a new one")
	}
	defer close(d.ended)
	d.fan.Start()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.stop, cancel)()
	var watch sync.WaitGroup
	watch.Go(func() { d.clock.watch(ctx, d.clockWasSet) })
	if d.dir != nil {
		watch.Go(func() { d.watchState(ctx) })
	}
	err := d.machine.Run(ctx, Close)
	d.halt()
	d.winding.Wait()
	cancel()
	watch.Wait()
	left, closed := d.closeState()
	if lost := (LostError{Left: left, Dropped: int(d.drops.Load())}); lost != (LostError{}) {
		err = errors.Join(err, &lost)
	}
	err = errors.Join(err, closed)
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), max(time.Until(d.closeBy), lastWords))
	defer done()
	return errors.Join(err, d.fan.Close(closing))
}

// Close ends a running device and waits for that, or for ctx. It may be called more than once. After it, one that was never
// run ends at once.
func (d *Device) Close(ctx context.Context) error {
	d.halt()
	if d.started.CompareAndSwap(false, true) {
		defer close(d.ended)
		d.unused.Store(true)
		_, err := d.closeState()
		return err
	}
	select {
	case <-d.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("machine: close: %w", ctx.Err())
	}
}

// reserved are the properties that a device gives to its readings itself.
var reserved = []string{hub.BacklogProperty, hub.ClockProperty, outbox.MissingProperty, outbox.PreviousProperty, outbox.RequeuedProperty}

// Send accepts a reading, in whatever state the device is, and returns its ID once it is as safe as the outbox makes
// it. It is delivered at least once. A reading that no hub would take is refused here.
func (d *Device) Send(ctx context.Context, r Reading) (outbox.ID, error) {
	if d.Off.Has(hub.Telemetry) {
		return outbox.ID{}, fmt.Errorf("telemetry: %w", ErrSwitchedOff)
	}
	stamp := d.clock.stamp(&r)
	for _, ours := range reserved {
		if _, given := r.Properties[ours]; given {
			return outbox.ID{}, fmt.Errorf("machine: send: the property %q is set by the device", ours)
		}
	}
	if err := r.Check(); err != nil {
		return outbox.ID{}, fmt.Errorf("machine: send: %w", err)
	}
	r.Body, r.Properties = bytes.Clone(r.Body), maps.Clone(r.Properties) // the caller's, who may use them again
	id, err := d.outbox.Put(ctx, r, stamp)
	if err != nil {
		return outbox.ID{}, fmt.Errorf("machine: send: %w", err)
	}
	d.clock.put(id.N)
	if d.tells(observe.Debug) { // or its ID need not be written
		d.emit(Record{Level: observe.Debug, Kind: observe.Accepted, ID: id.String()})
	}
	return id, nil
}

// Report merges reported properties into those that wait, and returns once they are as safe as readings, or in memory while
// the disk cannot be written; they are sent when there is a hub to send them to. null removes a property. A patch that no hub
// would take is refused here, and so is one that would be changed on its way: text that is not UTF-8, and in a
// json.RawMessage a name that stands twice in one object or half of a surrogate pair.
func (d *Device) Report(ctx context.Context, patch map[string]any) error {
	if d.Off.Has(hub.Reported) {
		return fmt.Errorf("reported properties: %w", ErrSwitchedOff)
	}
	return d.hub.Report(ctx, patch)
}

// drainCheck is how often Drained looks at the outbox.
const drainCheck = 100 * time.Millisecond

// Drained returns nil as soon as no reading is pending: hubs have acknowledged all that were accepted, or they were dropped.
// It returns ctx's error when that ends first. Readings that are accepted meanwhile count.
func (d *Device) Drained(ctx context.Context) error {
	look := time.NewTicker(drainCheck)
	defer look.Stop()
	for {
		if pending, _ := d.outbox.Pending(); pending == 0 {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("machine: drained: %w", ctx.Err())
		}
	}
}

// Fire asks the machine for an event, for states that a program has added.
func (d *Device) Fire(ctx context.Context, e Event) error { return d.machine.Fire(ctx, e) }

// Flush sends what waits over the session that the device holds, and returns nil when the hub has acknowledged all of
// it. Only the Action of a state that a program has added may call it; in Connected the device sends by itself.
func (d *Device) Flush(ctx context.Context) error { return d.hub.Flush(ctx) }

// Assignment is what DPS has assigned to the device, now or before a restart; its zero value means that there
// is nothing yet. Its Payload is what a custom allocation returned. It may be stale when you read it.
func (d *Device) Assignment() Assignment {
	if a := d.assigned.Load(); a != nil {
		return *a
	}
	return Assignment{}
}

// assign makes an assignment the device's.
func (d *Device) assign(a Assignment) {
	d.assignment = a
	d.assigned.Store(&a)
}

// State is the current state; it may be stale when you read it.
func (d *Device) State() State { return d.machine.State() }

// Markdown is the document of a device's states, docs/states.md.
func Markdown() (string, error) { return new(Device).table().Markdown() }

// readKey asks the key source, and remembers the key for hide.
func (d *Device) readKey() (transport.Key, error) {
	key, err := d.Identity.Key()
	if err == nil {
		d.key.Store(&key)
	}
	return key, err
}

// hide takes the device's key out of a text that the program has written, or somebody else.
func (d *Device) hide(text string) string {
	if key := d.key.Load(); key != nil {
		return key.Hide(text)
	}
	return text
}

// drop ends the session if there is one.
func (d *Device) drop() {
	s := d.session
	if s == nil {
		return
	}
	d.session = nil
	if s.Cause() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), settleTime)
		defer cancel()
		_ = s.Close(ctx)
	}
	d.wind(s)
	d.hub.Release()
}

// wind is for a session that has ended. It may take a moment to be over, for which no failover waits; Run does in the end.
func (d *Device) wind(s *transport.Session) { d.winding.Go(func() { <-s.Done() }) }
