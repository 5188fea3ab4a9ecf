package machine

import "time"

// SetAsleep has a device that does not run yet believe how long the machine has slept. known is false where
// the system does not say.
func (d *Device) SetAsleep(asleep func() (total time.Duration, known bool)) {
	d.clock.asleep = asleep
	d.clock.sleepAt, _ = asleep()
}

// BeforeSaves has a test do something before each assignment is stored. It is called before Run.
func (d *Device) BeforeSaves(do func()) {
	save := d.saver.save
	d.saver.save = func(a Assignment) error {
		do()
		return save(a)
	}
}
