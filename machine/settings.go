package machine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
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
	Reading     = payloads.Reading // one telemetry message: Body, Properties, Taken, Component
	Message     = payloads.Message // a cloud-to-device message
	Handlers    = hub.Handlers     // Method, Command, Desired
	PropertyAck = hub.PropertyAck  // the answer to a desired property
	Record      = observe.Record   // one event of the device's life

	Assignment   = provisioning.Assignment // what DPS has assigned: Hub, DeviceID, Substatus, Payload
	PropertyName = payloads.PropertyName   // of a desired property: Component, "" for the device itself, and Name
)

const (
	maxWindow    = 10_000 // MQTT numbers 65,535
	minTokenLife = 10 * time.Second
)

// Settings are a device. The zero value of an optional field means the default that stands beside it.
type Settings struct {
	ProvisioningHost string              // DPS: global.azure-devices-provisioning.net, or host:port
	IDScope          string              // of the DPS instance
	RegistrationID   string              // best in lower case: a key derived from a group's fits one spelling
	Key              transport.KeySource // the device's key; read at each dial. Only a *transport.KeyError has its text shown

	ModelID  string // optional: the DTDL model
	ModelKey string // "modelId": its name in the registration payload; older IoT Central samples say iotcModelId
	StateDir string // optional: the device's own directory for what must outlive a restart, readings and reports included

	Handlers  Handlers
	Off       hub.Kinds
	Observers []func(Record) // each gets every record, in order, on a goroutine of its own
	NoDebug   bool           // they get none of level debug, which each reading has two of: taken and delivered
	Outbox    outbox.Outbox  // one that the program gives has its own limits and reports its own drops; the device closes it
	Limits    outbox.Limits  // of the outbox that the device makes
	InMemory  bool           // it is in memory although there is a StateDir, and so are reports; without one they always are
	SyncEvery time.Duration  // 0: Send and Report wait for the disk; else it has both after so long, and readings are sent then
	InOrder   bool           // readings go out in the order in which they were taken; else the newest first after an outage

	Window         int           // 64 readings on their way at once
	DrainRate      float64       // 10 readings a second of the backlog; negative: as fast as the hub takes them
	AckTimeout     time.Duration // 60 s: a reading without an acknowledgement for this long ends the session
	HandlerTimeout time.Duration // 30 s
	CloseTimeout   time.Duration // 5 s
	TokenLife      time.Duration // 1 h; renewed after 80 to 85 % of it
	ClockFloor     time.Time     // the start of 2026: a wall clock (Link.Now) before it has not been set
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
	if s.ClockFloor.IsZero() {
		s.ClockFloor = release
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
