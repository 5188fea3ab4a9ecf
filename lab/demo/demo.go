// Package demo shows a failover and a failback, with a cloud and a device in one process, and
// compares the readings that were accepted with those that were delivered.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/sensor"
	"giantlizard.example/failover/transport"
)

// Options are the options of Run. Only Out is required.
type Options struct {
	Out   io.Writer
	JSON  bool               // print records as JSON lines
	Watch bool               // repeat until ctx ends
	Scene time.Duration      // the pause before each fault; zero means 6 s
	Cloud emulator.Config    // the cloud, with hubs A and B
	Dial  transport.DialFunc // opens the device's connections; nil means TCP
}

// deviceID is the registration ID of the device in the demo.
const deviceID = "demo-1"

const (
	recoveryTimeout = time.Minute // time for one recovery, which takes a few seconds
	logTimeout      = time.Second // time for the reader of Out to read the end of the log
)

// A show is a running demo.
type show struct {
	Options
	cloud   *emulator.Cloud
	device  *machine.Device
	sensor  *sensor.Sensor
	log     *observe.Fan        // prints records to Out, on a goroutine of its own
	news    chan machine.Record // outcomes, and transitions to Connected
	mu      sync.Mutex
	balance Balance
}

// Run shows a failover and a failback and returns the balance. If ctx ends early, the balance is
// that of the time until then.
func Run(ctx context.Context, o Options) (Balance, error) {
	if o.Scene <= 0 {
		o.Scene = 6 * time.Second
	}
	s := &show{Options: o, news: make(chan machine.Record, 1024)}
	if err := s.build(); err != nil {
		return Balance{}, fmt.Errorf("demo: %w", err)
	}
	defer s.cloud.Close()
	err := s.play(ctx)
	s.balance.count(s.cloud.Ledger())
	if err == nil && ctx.Err() == nil && s.balance.Accepted == 0 {
		err = errors.New("the device accepted no reading")
	}
	if err != nil {
		err = fmt.Errorf("demo: %w", err)
	}
	return s.balance, err
}

func (s *show) build() (err error) {
	if s.cloud, err = emulator.Start(s.Cloud); err != nil {
		return err
	}
	print := observe.NewPrinter(s.Out, s.JSON, observe.Info)
	if !s.JSON {
		print = brief(print)
	}
	s.log = observe.NewFan(observe.Thin(s.withNames(print)))
	s.sensor = &sensor.Sensor{TelemetryInterval: 500 * time.Millisecond, PropertyInterval: 2 * time.Second}
	s.device, err = machine.New(machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: s.cloud.DPSHost(), IDScope: s.cloud.IDScope(), RegistrationID: deviceID,
			ModelID: sensor.ModelID,
			Key:     machine.GroupKey(s.cloud.GroupKey(), deviceID),
		},
		Storage:   machine.Storage{InMemory: true},
		Link:      machine.Link{Dial: s.Dial, RootCAs: s.cloud.CAPool},
		Handlers:  s.sensor.Handlers(),
		Observers: []func(machine.Record){s.log.Emit, s.observe},
	})
	if err != nil {
		s.cloud.Close()
		return err
	}
	s.sensor.Warn = s.device.Warn
	return nil
}

// brief removes the error from transitions, because their cause is enough here.
func brief(print func(machine.Record)) func(machine.Record) {
	return func(r machine.Record) {
		if r.Kind == observe.Transition {
			r.Error = ""
		}
		print(r)
	}
}

// withNames replaces the addresses of DPS and the hubs by their names, so that nobody has to look up a
// port.
func (s *show) withNames(print func(machine.Record)) func(machine.Record) {
	names := strings.NewReplacer(s.cloud.Hub("A"), "hub A", s.cloud.Hub("B"), "hub B", s.cloud.DPSHost(), "DPS")
	return func(r machine.Record) {
		for _, text := range []*string{&r.Hub, &r.FromHub, &r.Message, &r.Error} {
			*text = names.Replace(*text)
		}
		print(r)
	}
}

// observe keeps the parts of a record that the balance and the steps of the demo need.
func (s *show) observe(r machine.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Kind == observe.Accepted:
		s.balance.acceptedIDs = append(s.balance.acceptedIDs, r.ID)
		return
	case r.Kind == observe.Outcome:
		s.balance.Recoveries = append(s.balance.Recoveries, r)
	case !isConnected(r):
		return
	}
	select {
	case s.news <- r:
	default:
	}
}

func isConnected(r machine.Record) bool {
	return r.Kind == observe.Transition && r.To == string(machine.Connected)
}

// play runs the log, the device, the sensor and the steps, and ends the sensor, the device and the
// log in this order.
func (s *show) play(ctx context.Context) error {
	own := context.WithoutCancel(ctx)
	s.log.Start()
	var running, sensing sync.WaitGroup
	var ended error
	running.Go(func() { ended = s.device.Run(own) })
	taking, stop := context.WithCancel(own)
	sensing.Go(func() { s.sensor.Run(taking, s.device) })
	err := s.steps(ctx)
	stop()
	sensing.Wait()
	closing, cancel := context.WithTimeout(own, recoveryTimeout)
	defer cancel()
	if bad := s.device.Close(closing); err == nil {
		err = bad
	}
	running.Wait()
	logging, cancel := context.WithTimeout(own, logTimeout)
	defer cancel()
	_ = s.log.Close(logging) // ignore the error, which means that nobody reads Out
	return errors.Join(err, ended)
}

// steps does the failover and the failback. If ctx ends early, steps returns no error.
func (s *show) steps(ctx context.Context) error {
	err := s.until(ctx, isConnected)
	for again := true; again && err == nil; again = s.Watch {
		if err = s.failover(ctx); err == nil {
			err = s.failback(ctx)
		}
		if err == nil {
			err = pause(ctx, s.Scene)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *show) failover(ctx context.Context) error {
	if err := pause(ctx, s.Scene); err != nil {
		return err
	}
	s.say("*** A giant lizard attacks the data center of hub A. The cloud moves the device to hub B.")
	if err := s.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
		return err
	}
	if err := s.cloud.SendCommand(deviceID, "setAlarm", []byte(`"08:30:00Z"`)); err != nil {
		return err
	}
	return s.until(ctx, ends(observe.FailedOver))
}

func (s *show) failback(ctx context.Context) error {
	if err := pause(ctx, s.Scene); err != nil {
		return err
	}
	s.say("*** The lizard has gone. Hub A is back, and the cloud moves the device back.")
	if err := s.cloud.ReviveHub("A"); err != nil {
		return err
	}
	if err := s.cloud.MoveDevices("B", "A"); err != nil {
		return err
	}
	return s.until(ctx, ends(observe.FailedBack))
}

// ends returns a condition that is true for a record whose outcome is this one.
func ends(outcome string) func(machine.Record) bool {
	return func(r machine.Record) bool { return r.Kind == observe.Outcome && r.Outcome == outcome }
}

func (s *show) say(text string) {
	s.log.Emit(machine.Record{Time: time.Now(), Level: observe.Info, Kind: observe.Note, Message: text})
}

// until waits for a record for which ok is true.
func (s *show) until(ctx context.Context, ok func(machine.Record) bool) error {
	t := time.NewTimer(recoveryTimeout)
	defer t.Stop()
	for {
		select {
		case r := <-s.news:
			if ok(r) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return fmt.Errorf("the device has not recovered within %s", recoveryTimeout)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
