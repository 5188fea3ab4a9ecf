package machine

import (
	"errors"
	"math/rand/v2"
	"time"

	"giantlizard.example/failover/settings"
)

// Settings describe a device. The zero value of an optional field means its default; WithDefaults has all defaults.
type Settings struct {
	Identity Identity
	Storage  Storage
	Delivery Delivery
	Handlers Handlers // optional: the program's code for what the cloud sends
	Off      Kinds    // optional: kinds of messages that the device neither sends nor receives
	Timing   Timing
	Policy   Policy
	Link     Link // optional: how to reach DPS and hubs

	// Observers receive every record, in order. Each observer has a goroutine of its own. Optional.
	Observers []func(Record)
	// NoDebug leaves out the records of level debug. Each delivered reading causes two such records.
	NoDebug bool
	// Table adds states to the device's table; docs/extending.md shows how. New calls Table, which must not call
	// methods of the Device. The Actions of the added states may call them. Optional.
	Table func(*Device, Table) Table
	// Rand returns a random number in [0, 1), for jitter. Nil means rand.Float64 of math/rand/v2.
	Rand func() float64
}

// Storage says where the device keeps readings and its state. StateDir must be given, or InMemory must be
// true, or both.
type Storage struct {
	// StateDir is the device's own directory for files that must outlive the process. New makes a relative path
	// absolute. If StateDir is empty, InMemory must be true.
	StateDir string
	// InMemory keeps readings and reported properties in memory only; they are lost when the process ends.
	// StateDir, if given, still keeps the assignment and the list of completed cloud-to-device messages.
	InMemory bool
	// SyncEvery lets Send and Report return before the reading or property is on the disk, which it is at most
	// this time later. Zero means that Send and Report wait for the disk.
	SyncEvery time.Duration
	// Limits bound the outbox.
	Limits Limits
}

// Check returns a *settings.FieldError for each field that cannot be used, joined.
func (s Storage) Check() error {
	var errs []error
	if s.StateDir == "" && !s.InMemory {
		errs = append(errs, settings.Wrong("StateDir", "is missing: give the device a directory of its own, "+
			"or set Storage.InMemory, with which pending readings are lost when the process ends"))
	}
	errs = append(errs, settings.Duration("SyncEvery", s.SyncEvery), settings.In("Limits", s.Limits.Check()))
	return errors.Join(errs...)
}

// Timing holds the time limits that concern the device as a whole.
type Timing struct {
	CloseTimeout time.Duration // bound on closing the device. Zero means 5 s
	// TokenLife is the lifetime of a SAS token, at least 10 s. The device renews the token after 80 to 85 % of
	// its lifetime. Zero means 1 h.
	TokenLife time.Duration
	// ClockFloor is the earliest plausible time. A wall clock (Link.Now) that shows an earlier time counts as
	// not set. Zero means the start of 2026.
	ClockFloor time.Time
}

// minTokenLife is the shortest lifetime of a token that leaves time for the new connection of each renewal.
const minTokenLife = 10 * time.Second

// WithDefaults returns a copy of t in which each zero field has its default.
func (t Timing) WithDefaults() Timing {
	settings.Default(&t.CloseTimeout, 5*time.Second)
	settings.Default(&t.TokenLife, time.Hour)
	settings.Default(&t.ClockFloor, release)
	return t
}

// Check returns a *settings.FieldError for each field that cannot be used, joined.
func (t Timing) Check() error {
	t = t.WithDefaults()
	errs := []error{settings.Duration("CloseTimeout", t.CloseTimeout)}
	if t.TokenLife < minTokenLife {
		errs = append(errs, settings.Wrong("TokenLife",
			"is %s: at least %s, because each renewal needs a new connection", t.TokenLife, minTokenLife))
	}
	return errors.Join(errs...)
}

// WithDefaults returns a copy of s in which each zero field has its default.
func (s Settings) WithDefaults() Settings {
	s.Identity, s.Link = s.Identity.WithDefaults(), s.Link.WithDefaults()
	s.Delivery, s.Handlers = s.Delivery.WithDefaults(), s.Handlers.WithDefaults()
	s.Storage.Limits = s.Storage.Limits.WithDefaults()
	s.Timing, s.Policy = s.Timing.WithDefaults(), s.Policy.WithDefaults()
	settings.Default(&s.Rand, rand.Float64)
	return s
}

// Check returns the joined *settings.FieldErrors of all fields that New would refuse. Each error names its
// field by the path from Settings, such as "Delivery.Window".
func (s Settings) Check() error {
	return errors.Join(
		settings.In("Identity", s.Identity.Check()),
		settings.In("Storage", s.Storage.Check()),
		settings.In("Delivery", s.Delivery.Check()),
		settings.In("Handlers", s.Handlers.Check()),
		settings.In("Timing", s.Timing.Check()),
		settings.In("Policy", s.Policy.Check()),
		settings.In("Link", s.Link.Check()),
	)
}
