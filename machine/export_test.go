package machine

import (
	"time"

	"giantlizard.example/failover/outbox"
)

// SetAsleep has a device that does not run yet believe how long the machine has slept. known is false where
// the system does not say.
func (d *Device) SetAsleep(asleep func() (total time.Duration, known bool)) {
	d.life.clock.asleep = asleep
	d.life.clock.sleepAt, _ = asleep()
}

// BeforeSaves has a test do something before each assignment is stored. It is called before Run.
func (d *Device) BeforeSaves(do func()) {
	var saved any
	d.life.state.saver.State = func() any {
		newest := d.life.state.newest.Load()
		if newest != saved {
			saved = newest
			do()
		}
		return newest
	}
}

// NewWithOutbox makes a device with an outbox of the test's. It has its own limits; the device closes it.
func NewWithOutbox(s Settings, box outbox.Outbox) (*Device, error) { return newDevice(s, box) }

// Outbox is the device's.
func (d *Device) Outbox() outbox.Outbox { return d.life.state.outbox }

// NetworkReturned tells the device that the system has a new address or route.
func (d *Device) NetworkReturned() { d.life.networkReturned() }
