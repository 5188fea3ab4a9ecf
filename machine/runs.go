package machine

import (
	"slices"
	"time"

	"giantlizard.example/failover/outbox"
)

// A runs value is the content of clock.json: the steps of the wall clock since the pending readings were
// taken. Steps that happened while no process of the device ran are not known.
type runs struct {
	Epoch string    `json:"epoch"` // epoch of the outbox
	Boot  string    `json:"boot"`  // ID of the machine's current boot
	Since uint64    `json:"since"` // last number that the outbox gave out before this boot
	Saved time.Time `json:"saved"` // time of the wall clock when the file was saved
	Steps []setting `json:"steps,omitempty"`
}

// A setting is one step of the wall clock. It happened after the readings with numbers above After, up to and
// including UpTo, were taken.
type setting struct {
	After uint64        `json:"after"`
	UpTo  uint64        `json:"upTo"`
	By    time.Duration `json:"by"`
}

// next returns the runs value for a run that begins now, in the given boot. newest is the ID of the last
// reading of earlier runs.
func (r runs) next(newest outbox.ID, boot string, now time.Time) runs {
	if r.Epoch != newest.Epoch {
		r = runs{Epoch: newest.Epoch}
	}
	if r.Boot != boot || boot == "" || now.Before(r.Saved) {
		r.Boot, r.Since = boot, newest.N
	}
	return r
}

// with returns a copy to which the steps of this run are added. now is the time of saving.
func (r runs) with(steps []step, now time.Time) runs {
	r.Steps, r.Saved = slices.Clone(r.Steps), now
	for _, s := range steps {
		r.Steps = append(r.Steps, setting{r.Since, s.newest, s.by})
	}
	r.Steps = r.Steps[max(0, len(r.Steps)-maxSteps):]
	return r
}

// same reports whether r and other are equal, apart from the time at which they were saved.
func (r runs) same(other runs) bool {
	return r.Epoch == other.Epoch && r.Boot == other.Boot && r.Since == other.Since &&
		slices.Equal(r.Steps, other.Steps)
}

// setSincePut returns the sum of the known steps of the wall clock since a reading of an earlier run was
// accepted.
func (c *clock) setSincePut(id outbox.ID) (by time.Duration) {
	if id.Epoch != c.runs.Epoch {
		return 0
	}
	for _, s := range c.runs.Steps {
		if id.N > s.After && id.N <= s.UpTo {
			by = plus(by, s.By)
		}
	}
	if id.N > c.runs.Since { // the reading was taken in this boot of the machine, so the steps of this run count too
		by = plus(by, c.setSince(0))
	}
	return by
}

// loadRuns reads clock.json, in which earlier runs have saved the steps of the wall clock. newest is the ID
// of the last reading of those runs.
func (s *stateDir) loadRuns(newest ID) {
	var r runs
	if _, err := s.file("clock.json").Load(&r); err != nil {
		s.warn(err)
		r = runs{}
	}
	if pending, _ := s.outbox.Pending(); pending == 0 {
		r.Steps = nil
	}
	now, _ := s.clock.look()
	s.clock.runs, s.savedRuns = r.next(newest, bootID(), now), r
}

// saveRuns writes clock.json if readings are pending and the file does not hold the latest steps.
func (s *stateDir) saveRuns() {
	if s.log.Load() == nil {
		return
	}
	now, _ := s.clock.look()
	r := s.clock.runs.with(s.clock.sure(), now)
	if pending, _ := s.outbox.Pending(); pending == 0 || r.same(s.savedRuns) {
		return
	}
	switch err := s.file("clock.json").Save(r); {
	case err == nil:
		s.savedRuns, s.runsFailed = r, false
	case !s.runsFailed:
		s.runsFailed = true
		s.warn(err)
	}
}
