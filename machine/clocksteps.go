package machine

import (
	"time"

	"giantlizard.example/failover/observe"
)

// noteAttempt notes that an attempt begins, by the wall clock as it is now.
func (l *life) noteAttempt() {
	l.clock.look()
	l.clockSets, _, _ = l.clock.history()
}

// clockEndsBackOff reports whether the device should try again at once, because the wall clock was set since the latest
// attempt began and may have been why that failed, with cause, or why DPS refused the device. A clock that is set again
// and again is such a reason only once in Policy.FirstRest.
func (l *life) clockEndsBackOff(cause error) bool {
	l.clock.look()
	times, _, _ := l.clock.history()
	now := l.clock.steady()
	if times == l.clockSets || !blamesClock(cause) && !l.history.doubted ||
		!l.freedAt.IsZero() && now.Sub(l.freedAt) < l.Policy.FirstRest {
		return false
	}
	l.clockSets, l.freedAt = times, now
	l.history.clockSet()
	return true
}

// recordClockSteps records that the wall clock was set since it was last called, in one record, and keeps that for the
// next start.
func (l *life) recordClockSteps() {
	if steps := l.clock.takeSteps(); len(steps) > 0 {
		var by time.Duration
		unsure := false
		for _, s := range steps {
			by, unsure = plus(by, s.by), unsure || s.unsure
		}
		r := Record{Level: observe.Info, Kind: observe.Clock, StepMS: by.Milliseconds(), Repeated: len(steps) - 1}
		if unsure {
			r.Message = r.Describe().Message + ", or this machine has slept"
		}
		if by.Abs() >= minStep { // otherwise it was set back
			l.emit(r)
		}
	}
	l.state.saveRuns()
}
