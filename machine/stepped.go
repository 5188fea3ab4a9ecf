package machine

import (
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
)

// attempt notes that an attempt begins, by the wall clock as it stands now.
func (d *Device) attempt() {
	d.clock.look()
	d.clockSets, _, _ = d.clock.history()
}

// freed reports whether there is a reason to try again at once: the clock was set since the latest attempt
// began, and may have been why that failed, with cause, or why DPS has refused the device. A clock that jumps
// about is such a reason once in FirstRest.
func (d *Device) freed(cause error) bool {
	d.clock.look()
	times, _, _ := d.clock.history()
	now := d.clock.steady()
	if times == d.clockSets || !blamesClock(cause) && !d.history.doubted ||
		!d.freedAt.IsZero() && now.Sub(d.freedAt) < d.Policy.FirstRest {
		return false
	}
	d.clockSets, d.freedAt = times, now
	d.history.clockSet()
	return true
}

// clockWasSet records that the clock was set since it was last called, once, and keeps that for the next start.
func (d *Device) clockWasSet() {
	if steps := d.clock.takeSteps(); len(steps) > 0 {
		var by time.Duration
		unsure := false
		for _, s := range steps {
			by, unsure = plus(by, s.by), unsure || s.unsure
		}
		r := Record{Level: observe.Info, Kind: observe.Clock, StepMS: by.Milliseconds(), Repeated: len(steps) - 1}
		if unsure {
			r.Message = r.Describe().Message + ", or this machine has slept"
		}
		if by.Abs() >= minStep { // else it was set back to what it was
			d.emit(r)
		}
	}
	d.saveRuns()
}

// loadRuns reads what earlier runs know of the readings up to the newest.
func (d *Device) loadRuns(newest outbox.ID) {
	var r runs
	if _, err := d.stateFile("clock.json").Load(&r); err != nil {
		d.Warn(err)
		r = runs{}
	}
	if pending, _ := d.outbox.Pending(); pending == 0 {
		r.Steps = nil
	}
	now, _ := d.clock.look()
	d.clock.runs, d.savedRuns = r.next(newest, bootID(), now), r
}

// saveRuns keeps what this run knows of readings that are pending.
func (d *Device) saveRuns() {
	if !d.durable {
		return
	}
	now, _ := d.clock.look()
	r := d.clock.runs.with(d.clock.sure(), now)
	if pending, _ := d.outbox.Pending(); pending == 0 || r.same(d.savedRuns) {
		return
	}
	switch err := d.stateFile("clock.json").Save(r); {
	case err == nil:
		d.savedRuns, d.runsUnsaved = r, false
	case !d.runsUnsaved:
		d.runsUnsaved = true
		d.Warn(err)
	}
}
