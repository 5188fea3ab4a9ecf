package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// What a program that embeds a device speaks of.
type (
	Reading  = payloads.Reading // one telemetry message: Body, Properties, Taken, Component
	Message  = payloads.Message // a cloud-to-device message
	Handlers = hub.Handlers     // Method, Command, Desired
	Ack      = hub.Ack          // the answer to a desired property
	Record   = observe.Record   // one event of the device's life
)

// lastWords is what observers get to see the last records even when closing has used its time up.
const lastWords = 500 * time.Millisecond

const (
	maxWindow    = 10_000 // MQTT numbers 65,535
	minTokenLife = 10 * time.Second
)

// ErrSwitchedOff is what Send and Report return when Settings.Off has their kind.
var ErrSwitchedOff = errors.New("machine: switched off in the settings")

// Settings are a device. The zero value of an optional field means the default that stands beside it.
type Settings struct {
	ProvisioningHost string              // DPS: global.azure-devices-provisioning.net, or host:port
	IDScope          string              // of the DPS instance
	RegistrationID   string              // lower case
	Key              transport.KeySource // the device's key; read at each dial

	ModelID   string // optional: the DTDL model
	ModelKey  string // "modelId": its name in the registration payload; older IoT Central samples say iotcModelId
	CacheFile string // optional: remembers the assignment, so that a restart needs no DPS

	Handlers  Handlers
	Off       hub.Kinds
	Observers []func(Record) // each gets every record, in order, on a goroutine of its own
	Outbox    outbox.Outbox  // in memory, with these Limits; the device closes it
	Limits    outbox.Limits  // one that the program gives has its own, and reports its own drops

	Window         int           // 64 readings on their way at once
	DrainRate      float64       // 10 readings a second of the backlog; negative: as fast as the hub takes them
	AckTimeout     time.Duration // 60 s: a reading without an acknowledgement for this long ends the session
	HandlerTimeout time.Duration // 30 s
	CloseTimeout   time.Duration // 5 s
	TokenLife      time.Duration // 1 h; renewed after 80 to 85 % of it
	Policy         Policy
	Link           transport.Config // how to reach DPS and hubs: Dial, RootCAs and the time-outs

	Table func(Table) Table // optional: adds states; see docs/extending.md
	Rand  func() float64    // math/rand: in [0, 1), for jitter
}

func (s Settings) withDefaults() Settings {
	s.Policy = s.Policy.withDefaults()
	if s.ModelKey == "" {
		s.ModelKey = "modelId"
	}
	if s.Window <= 0 {
		s.Window = 64
	}
	switch {
	case s.DrainRate == 0:
		s.DrainRate = 10
	case s.DrainRate < 0:
		s.DrainRate = 0
	}
	if s.AckTimeout <= 0 {
		s.AckTimeout = time.Minute
	}
	if s.HandlerTimeout <= 0 {
		s.HandlerTimeout = 30 * time.Second
	}
	if s.CloseTimeout <= 0 {
		s.CloseTimeout = 5 * time.Second
	}
	if s.TokenLife <= 0 {
		s.TokenLife = time.Hour
	}
	if s.Link.Now == nil {
		s.Link.Now = time.Now
	}
	if s.Rand == nil {
		s.Rand = rand.Float64
	}
	return s
}

func (s Settings) check() error {
	var errs []error
	if _, _, err := payloads.HostPort(s.ProvisioningHost, "8883"); err != nil {
		errs = append(errs, fmt.Errorf("the provisioning host: %w", err))
	}
	if s.IDScope == "" || strings.ContainsAny(s.IDScope, "/ \t\r\n") {
		errs = append(errs, errors.New("the ID scope: give the one that the DPS instance's overview shows"))
	}
	if err := payloads.CheckRegistrationID(s.RegistrationID); err != nil {
		errs = append(errs, err)
	}
	if s.Window > maxWindow {
		errs = append(errs, fmt.Errorf("a window of %d readings: at most %d, and a few hundred are as fast", s.Window, maxWindow))
	}
	if s.TokenLife > 0 && s.TokenLife < minTokenLife {
		errs = append(errs, fmt.Errorf("a token life of %s: a renewal needs a connection, so it is at least %s", s.TokenLife, minTokenLife))
	}
	if s.Key == nil {
		errs = append(errs, errors.New("there is no key"))
	}
	return errors.Join(errs...)
}

// A Device is one Azure IoT device. Run gives it life; its other methods may be called from any goroutine.
type Device struct {
	Settings
	machine *Machine
	hub     *hub.Hub
	fan     *observe.Fan
	stop    context.Context // ends with Close
	halt    context.CancelFunc
	started atomic.Bool
	ended   chan struct{}  // closed when Run returns
	winding sync.WaitGroup // sessions that have ended but not wound up
	drops   atomic.Int64   // readings given up

	// What follows belongs to the state that is being worked in, one at a time; so there is no mutex.

	// session is the device's one session. Whoever enters a state next takes it or drops it.
	session    *transport.Session
	assignment provisioning.Assignment
	polls      provisioning.Polls
	term       term          // of the session's token
	within     time.Duration // bound on the next attempt to connect; 0: the usual one
	history    history
	outage     outage
	entered    time.Time // when the current state was entered
	closeBy    time.Time // when Closing must be over
}

// New checks the settings and makes a device.
func New(s Settings) (*Device, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("machine: settings: %w", err)
	}
	d := &Device{Settings: s.withDefaults(), ended: make(chan struct{}), entered: time.Now()}
	d.fan = observe.NewFan(d.Observers...)
	if d.Outbox == nil {
		d.Outbox = outbox.NewMemory(d.Limits, d.dropped)
	}
	d.hub = hub.New(hub.Settings{
		Handlers: d.Handlers, Off: d.Off, Outbox: d.Outbox, Window: d.Window, DrainRate: d.DrainRate,
		AckTimeout: d.AckTimeout, HandlerTimeout: d.HandlerTimeout, Emit: d.emit,
	})
	table := d.table()
	if d.Settings.Table != nil {
		table = d.Settings.Table(table)
	}
	var err error
	d.machine, err = NewMachine(table, Hooks{Changed: d.changed, Refused: d.refusedEvent, Late: d.late})
	if err != nil {
		return nil, err
	}
	d.stop, d.halt = context.WithCancel(context.Background())
	return d, nil
}

// Run lives the device's life until ctx ends or Close is called, and then closes it within Settings.CloseTimeout. It
// returns nil when every reading was delivered; a *LostError says how many were not.
func (d *Device) Run(ctx context.Context) error {
	if !d.started.CompareAndSwap(false, true) {
		return errors.New("machine: run: a device runs once; make a new one")
	}
	defer close(d.ended)
	d.fan.Start()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.stop, cancel)()
	err := d.machine.Run(ctx, Close)
	d.halt()
	d.winding.Wait()
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), max(time.Until(d.closeBy), lastWords))
	defer done()
	return errors.Join(err, d.fan.Close(closing))
}

// Close ends a running device and waits for that, or for ctx. It may be called more than once. A device that was never
// run has nothing to end.
func (d *Device) Close(ctx context.Context) error {
	d.halt()
	if !d.started.Load() {
		return nil
	}
	select {
	case <-d.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("machine: close: %w", ctx.Err())
	}
}

// Send accepts a reading, in whatever state the device is, and returns its ID once it is as safe as the outbox makes
// it. It is delivered at least once. A reading that no hub would take is refused here.
func (d *Device) Send(ctx context.Context, r Reading) (outbox.ID, error) {
	if d.Off.Has(hub.Telemetry) {
		return outbox.ID{}, fmt.Errorf("telemetry: %w", ErrSwitchedOff)
	}
	if r.Taken.IsZero() {
		r.Taken = time.Now()
	}
	if _, ours := r.Properties[hub.BacklogProperty]; ours {
		return outbox.ID{}, fmt.Errorf("machine: send: the property %q is set by the device", hub.BacklogProperty)
	}
	if err := r.Check(); err != nil {
		return outbox.ID{}, fmt.Errorf("machine: send: %w", err)
	}
	r.Body, r.Properties = bytes.Clone(r.Body), maps.Clone(r.Properties) // the caller's, who may use them again
	id, err := d.Outbox.Put(ctx, r)
	if err != nil {
		return outbox.ID{}, fmt.Errorf("machine: send: %w", err)
	}
	d.emit(Record{Level: observe.Debug, Kind: observe.Taken, ID: id.String()})
	return id, nil
}

// Report merges reported properties into those that wait, and returns; they are sent when there is a hub to send them
// to. null removes a property. A patch that no hub would take is refused here.
func (d *Device) Report(_ context.Context, patch map[string]any) error {
	if d.Off.Has(hub.Reported) {
		return fmt.Errorf("reported properties: %w", ErrSwitchedOff)
	}
	return d.hub.Report(patch)
}

// Fire asks the machine for an event, for states that a program has added.
func (d *Device) Fire(ctx context.Context, e Event) error { return d.machine.Fire(ctx, e) }

// Flush sends what waits over the session that the device holds, and returns nil when the hub has acknowledged all of
// it. Only the Action of a state that a program has added may call it; in Connected the device sends by itself.
func (d *Device) Flush(ctx context.Context) error { return d.hub.Flush(ctx) }

// State is the current state; it may be stale when you read it.
func (d *Device) State() State { return d.machine.State() }

// Markdown is the document of a device's states, docs/states.md.
func Markdown() (string, error) { return new(Device).table().Markdown() }

func (d *Device) cache() provisioning.Cache {
	return provisioning.Cache{
		Path: d.CacheFile, Host: d.ProvisioningHost, IDScope: d.IDScope, RegistrationID: d.RegistrationID,
	}
}

// drop ends the session if there is one. One that has ended already may take a moment to wind up, for which no failover
// waits; Run does in the end.
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
	d.winding.Go(func() { <-s.Over() })
	d.hub.Release()
}
