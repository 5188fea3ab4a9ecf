package machine

import (
	"slices"
	"time"

	"giantlizard.example/failover/outbox"
)

// A runs value is the content of clock.json: by how much the wall clock was moved since the pending readings were
// taken. What the clock was moved by while no process of the device ran is not known.
type runs struct {
	Epoch string    `json:"epoch"` // of the outbox
	Boot  string    `json:"boot"`  // names the time since the machine was started
	Since uint64    `json:"since"` // the last number of an earlier boot
	Saved time.Time `json:"saved"` // by the wall clock
	Steps []setting `json:"steps,omitempty"`
}

// A setting is a step of the clock after readings with numbers above After, up to UpTo, were taken.
type setting struct {
	After uint64        `json:"after"`
	UpTo  uint64        `json:"upTo"`
	By    time.Duration `json:"by"`
}

// next returns the runs for a run that begins now. newest is the last reading of the run before.
func (r runs) next(newest outbox.ID, boot string, now time.Time) runs {
	if r.Epoch != newest.Epoch {
		r = runs{Epoch: newest.Epoch}
	}
	if r.Boot != boot || boot == "" || now.Before(r.Saved) {
		r.Boot, r.Since = boot, newest.N
	}
	return r
}

// with returns a copy that has the steps of this run.
func (r runs) with(steps []step, now time.Time) runs {
	r.Steps, r.Saved = slices.Clone(r.Steps), now
	for _, s := range steps {
		r.Steps = append(r.Steps, setting{r.Since, s.newest, s.by})
	}
	r.Steps = r.Steps[max(0, len(r.Steps)-maxSteps):]
	return r
}

// same reports whether both hold the same, apart from the time at which they were saved.
func (r runs) same(other runs) bool {
	return r.Epoch == other.Epoch && r.Boot == other.Boot && r.Since == other.Since && slices.Equal(r.Steps, other.Steps)
}

// setSincePut returns by how much the clock was set since a reading of an earlier run was accepted, as far as
// that is known.
func (c *clock) setSincePut(id outbox.ID) (by time.Duration) {
	if id.Epoch != c.runs.Epoch {
		return 0
	}
	for _, s := range c.runs.Steps {
		if id.N > s.After && id.N <= s.UpTo {
			by = plus(by, s.By)
		}
	}
	if id.N > c.runs.Since { // it was taken since the machine was started, so this run's steps count as well
		by = plus(by, c.setSince(0))
	}
	return by
}

// loadRuns reads clock.json, in which earlier runs have kept what they knew of the readings up to the newest.
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

// saveRuns writes clock.json if readings are pending and this run knows more of them than the file.
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
