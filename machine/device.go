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
)

// recordsTimeout is the shortest time limit for the observers to receive the last records, even when
// Timing.CloseTimeout is used up. It is also the limit of a Close before Run.
const recordsTimeout = 500 * time.Millisecond

// drainCheck is how often Drained looks at the outbox.
const drainCheck = 100 * time.Millisecond

// ErrSwitchedOff is the error of Send if Settings.Off contains Telemetry, and of Report if Settings.Off
// contains ReportedProperties.
var ErrSwitchedOff = errors.New("machine: switched off in the settings")

// A Device is one Azure IoT device. New makes it, Run keeps it connected, and Close ends it. All methods may
// be called from any goroutine; those that only an Action may call say so.
type Device struct {
	life  *life
	table Table           // all states and rows, including those of the program
	stop  context.Context // ends when Close is called or the machine has ended
	halt  context.CancelFunc
	use   atomic.Int32  // one of the constants unused, used and closedUnused
	ended chan struct{} // closed when Run returns, or when a Close before Run returns
}

// The values of Device.use.
const (
	unused       = iota
	used         // Run was called
	closedUnused // Close was called before Run
)

// New checks the settings and makes a device. It opens the state directory, and the device keeps it locked
// until Run returns or, if Run is never called, until Close returns. For wrong settings New returns an error
// that wraps the error of Settings.Check.
func New(s Settings) (*Device, error) { return newDevice(s, nil) }

// newDevice makes a device. Tests pass an outbox as box; if box is nil, newDevice opens the outbox that the
// settings describe.
func newDevice(s Settings, box outbox.Outbox) (_ *Device, err error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("machine: settings: %w", err)
	}
	l, err := newLife(s.WithDefaults(), box)
	if err != nil {
		return nil, err
	}
	made := false
	defer func() { // a deferred function, because Settings.Table may panic
		if !made {
			_, closed := l.state.close(l.hub)
			err = errors.Join(err, closed)
		}
	}()
	d := &Device{life: l, table: l.table(), ended: make(chan struct{})}
	if s.Table != nil {
		d.table = s.Table(d, d.table)
	}
	l.machine, err = NewMachine(d.table, Hooks{Changed: l.changed, Illegal: l.illegalEvent, Late: l.late})
	if err == nil {
		err = l.machine.table.everyStateHas(Close)
	}
	if err != nil {
		return nil, err
	}
	d.stop, d.halt = context.WithCancel(context.Background())
	made = true
	return d, nil
}

// Run keeps the device connected until ctx ends, Close is called or a final state of the program is entered, and
// then closes it within Timing.CloseTimeout. It may be called once. If readings were lost or dropped, its error
// wraps a *LostError.
func (d *Device) Run(ctx context.Context) error {
	if !d.use.CompareAndSwap(unused, used) {
		if d.use.CompareAndSwap(closedUnused, used) {
			return nil
		}
		return errors.New("machine: run: a device runs once; make a new one")
	}
	defer close(d.ended)
	l := d.life
	l.fan.Start()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.stop, cancel)()
	var watch sync.WaitGroup
	watch.Go(func() { l.clock.watch(ctx, l.recordClockSteps) })
	watch.Go(func() { l.state.watch(ctx) })
	watch.Go(func() { l.watchNetwork(ctx) })
	err := l.machine.Run(ctx, Close)
	if l.closeBy.IsZero() { // a final state of the program has ended the machine
		_, closed := l.usesHub(l.closing)(context.WithoutCancel(ctx), Change{})
		err = errors.Join(err, closed)
	}
	d.halt()
	l.endings.Wait()
	cancel()
	watch.Wait()
	return l.keys.hideIn(errors.Join(err, l.end(context.WithoutCancel(ctx))))
}

// Close ends the device and waits until Run has returned. If ctx ends first, Close returns an error that
// wraps ctx's. Close may be called more than once. If Close is called before Run, it closes the device itself,
// and Run returns at once. The error of Close then wraps a *LostError if readings were lost or dropped, and
// context.DeadlineExceeded if an observer is too slow for the last records.
func (d *Device) Close(ctx context.Context) error {
	d.halt()
	if d.use.CompareAndSwap(unused, closedUnused) {
		defer close(d.ended)
		d.life.machine.abandon()
		d.life.fan.Start()
		return d.life.end(ctx)
	}
	select {
	case <-d.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("machine: close: %w", ctx.Err())
	}
}

// reserved are the application properties that the device sets itself.
var reserved = []string{
	hub.BacklogProperty, hub.ClockProperty, outbox.MissingProperty, outbox.PreviousProperty, outbox.RequeuedProperty,
}

// Send accepts a reading in any state of the device, and returns the reading's ID as soon as the reading is
// as safe as Settings.Storage makes it. The reading is delivered at least once, unless the device drops it
// and emits a record of the kind RecordDropped. Send refuses a reading that no hub would accept, for example
// one of more than 256 KB. With the policy Block, Send waits for room in the outbox. If ctx ends first, Send
// returns an error, but the reading may be delivered nevertheless.
func (d *Device) Send(ctx context.Context, r Reading) (ID, error) {
	if d.life.Off.Has(hub.Telemetry) {
		return ID{}, fmt.Errorf("telemetry: %w", ErrSwitchedOff)
	}
	stamp := d.life.clock.stamp(&r)
	for _, property := range reserved {
		if _, given := r.Properties[property]; given {
			return ID{}, fmt.Errorf("machine: send: the property %q is set by the device", property)
		}
	}
	if err := r.Check(); err != nil {
		return ID{}, fmt.Errorf("machine: send: %w", err)
	}
	r.Body, r.Properties = bytes.Clone(r.Body), maps.Clone(r.Properties) // the caller may reuse its own
	id, err := d.life.state.outbox.Put(ctx, r, stamp)
	if err != nil {
		return ID{}, fmt.Errorf("machine: send: %w", err)
	}
	d.life.clock.put(id.N)
	if d.life.wants(observe.Debug) { // otherwise the ID need not be formatted
		d.life.emit(Record{Level: observe.Debug, Kind: observe.Accepted, ID: id.String()})
	}
	return id, nil
}

// Report merges reported properties into the pending ones, which are sent as soon as the device is connected
// to a hub. The value null removes a property. Report returns when the patch is as safe as Settings.Storage
// makes readings; if the disk cannot be written, the patch is in memory only. Report refuses a patch that no
// hub would accept. It also refuses a patch that JSON encoding would change: text that is not UTF-8, and in a
// json.RawMessage a name that occurs twice in one object, or half of a surrogate pair.
func (d *Device) Report(ctx context.Context, patch map[string]any) error {
	if d.life.Off.Has(hub.Reported) {
		return fmt.Errorf("reported properties: %w", ErrSwitchedOff)
	}
	return d.life.hub.Report(ctx, patch)
}

// Drained waits until no reading is pending: each accepted reading was acknowledged by a hub, or was dropped.
// Drained also waits for readings that are accepted meanwhile. If ctx ends first, Drained returns an error
// that wraps ctx's. If readings are pending that this device will not send, the error wraps ErrEnded because the
// device has ended, or ErrSwitchedOff because Settings.Off contains Telemetry.
func (d *Device) Drained(ctx context.Context) error {
	look := time.NewTicker(drainCheck)
	defer look.Stop()
	for {
		stopped := d.stopped() // before the look at the outbox, so that the outbox has its last content
		pending, _ := d.life.state.outbox.Pending()
		switch {
		case pending == 0:
			return nil
		case stopped != nil:
			return fmt.Errorf("machine: drained: %d readings are pending: %w", pending, stopped)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("machine: drained: %w", ctx.Err())
		}
	}
}

// stopped returns why the device sends no readings, or nil if it does.
func (d *Device) stopped() error {
	select {
	case <-d.ended:
		return ErrEnded
	default:
	}
	if d.life.Off.Has(hub.Telemetry) {
		return ErrSwitchedOff
	}
	return nil
}

// Fire triggers an event of a state that the program has added, and returns when the machine has moved. Its
// error wraps ErrIllegalEvent if the table has no row for the event in the current state, ErrEnded if the
// machine has ended, or ctx's error if ctx ends first.
func (d *Device) Fire(ctx context.Context, e Event) error { return d.life.machine.Fire(ctx, e) }

// Flush sends the pending readings and reported properties over the device's session, and returns nil when
// the hub has acknowledged all of them. Only the Action of a state that a program has added may call it. While
// the Action of one of the device's own states runs, Flush returns an error at once; in Connected the device sends by
// itself. A Flush that still runs when the device enters such a state ends with an error.
func (d *Device) Flush(ctx context.Context) error { return d.life.flush(ctx) }

// Assignment returns the hub and device ID that DPS assigned, in this run or an earlier one. The zero
// Assignment means that the device has no assignment yet. The field Payload is the JSON that a custom
// allocation returned. The result may be out of date when you read it.
func (d *Device) Assignment() Assignment { return d.life.assignment() }

// State returns the current state. The result may be out of date when you read it.
func (d *Device) State() State { return d.life.machine.State() }

// Warn gives all observers a record of the kind RecordWarning, of level warn, with an error of the program. Nil
// makes no record.
func (d *Device) Warn(err error) {
	if err != nil {
		d.life.warn("", err)
	}
}

// Markdown returns the document of the device's states, including the states that the program has added.
func (d *Device) Markdown() (string, error) { return d.table.Markdown() }

// Mermaid returns the diagram of the device's states, including the states that the program has added.
func (d *Device) Mermaid() (string, error) { return d.table.Mermaid() }
