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
	Off      Kinds    // optional: what the device does not do
	Timing   Timing
	Policy   Policy
	Link     Link // optional: how to reach DPS and hubs

	// Observers get every record, in order, each on a goroutine of its own. Optional.
	Observers []func(Record)
	// NoDebug leaves out the records of level debug, of which each reading causes two.
	NoDebug bool
	// Table adds states to the device's table; docs/extending.md shows how. New calls it. Its Actions may use the
	// Device, but Table itself must not call methods of it. Optional.
	Table func(*Device, Table) Table
	// Rand returns a random number in [0, 1), for jitter. Nil means math/rand's.
	Rand func() float64
}

// Storage says where what must not be lost is kept. Either StateDir or InMemory must be given.
type Storage struct {
	// StateDir is the device's own directory for what must outlive the process. If it is empty, InMemory must be true.
	StateDir string
	// InMemory keeps readings and reported properties in memory only; they are lost when the process ends. The
	// StateDir, if there is one, still keeps the assignment and which messages were completed.
	InMemory bool
	// SyncEvery lets Send and Report return before the disk has the reading or property, which it has after at most so
	// long. Zero means that they wait for the disk.
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

// Timing has the times that belong to the device as a whole.
type Timing struct {
	CloseTimeout time.Duration // how long closing may take. Zero means 5 s
	TokenLife    time.Duration // of a SAS token, at least 10 s; it is renewed after 80 to 85 % of it. Zero means 1 h
	ClockFloor   time.Time     // a wall clock (Link.Now) before it has not been set. Zero means the start of 2026
}

// minTokenLife leaves time for a renewal, which needs a connection, before the next one.
const minTokenLife = 10 * time.Second

// WithDefaults returns t with the defaults in the place of zero fields.
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
		errs = append(errs, settings.Wrong("TokenLife", "is %s: at least %s, because each renewal needs a new connection",
			t.TokenLife, minTokenLife))
	}
	return errors.Join(errs...)
}

// WithDefaults returns s with the defaults in the place of zero fields.
func (s Settings) WithDefaults() Settings {
	s.Identity, s.Link = s.Identity.WithDefaults(), s.Link.WithDefaults()
	s.Delivery, s.Handlers = s.Delivery.WithDefaults(), s.Handlers.WithDefaults()
	s.Storage.Limits = s.Storage.Limits.WithDefaults()
	s.Timing, s.Policy = s.Timing.WithDefaults(), s.Policy.WithDefaults()
	settings.Default(&s.Rand, rand.Float64)
	return s
}

// Check returns a *settings.FieldError for each field that New would refuse, joined. Each names its field by the path
// from Settings, such as "Delivery.Window".
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
