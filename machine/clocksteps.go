package machine

import (
	"time"

	"giantlizard.example/failover/observe"
)

// noteAttempt notes, when an attempt to connect begins, how often the wall clock had been set and the network
// had returned.
func (l *life) noteAttempt() {
	l.clock.look()
	l.clockSets, _, _ = l.clock.history()
	l.networksSeen = l.networks.Load()
}

// clockEndsBackOff reports whether the device should try again at once: if somebody has set the wall clock
// since the latest attempt began, and the wrong clock may be why that attempt failed with the error cause, or
// why DPS refused the device. A clock that is set again and again ends a back-off only once in
// Policy.FirstRest.
func (l *life) clockEndsBackOff(cause error) bool {
	l.clock.look()
	times, _, _ := l.clock.history()
	now := l.clock.steady()
	if times == l.clockSets || !blamesClock(cause) && !l.doubted ||
		!l.freedAt.IsZero() && now.Sub(l.freedAt) < l.Policy.FirstRest {
		return false
	}
	l.clockSets, l.freedAt = times, now
	l.history.Restart(l.doubted, now)
	return true
}

// recordClockSteps makes one record of all steps of the wall clock since its last call, and saves the steps
// for the next start.
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
		if by.Abs() >= minStep { // otherwise the steps cancel each other out
			l.emit(r)
		}
	}
	l.state.saveRuns()
}
