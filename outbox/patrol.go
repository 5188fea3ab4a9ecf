package outbox

import (
	"time"

	"giantlizard.example/failover/statefile"
)

// Somebody may remove, rename or replace the directory of a log or a file in it, so that a path does not
// lead any more to the file that the log has open or locked. The log verifies its paths before it
// answers a Put, and at each patrol. It restores what is missing.

// patrolInterval is the time between two verifications of the files while readings are pending.
const patrolInterval = statefile.RepairInterval

// nextPatrol returns wait, shortened to the time until the next patrol, and reports whether a patrol is due.
func (c *committer) nextPatrol(wait time.Duration) (time.Duration, bool) {
	if !c.needsPatrol() {
		return wait, false
	}
	left := patrolInterval - time.Since(c.restores.patrolled)
	return min(wait, max(0, left)), left <= 0
}

// needsPatrol reports whether there is anything to verify.
func (c *committer) needsPatrol() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readings > 0 && len(c.disk.segments) > 0
}

// patrol verifies the directory and every segment, and restores what is missing. It returns an error if
// restoring failed.
func (c *committer) patrol() error {
	segments := c.segments()
	err := c.verifyAll(segments)
	if err == nil {
		c.handles.openNewest(segments)
		return nil
	}
	restored, err := c.restore(err)
	c.mu.Lock()
	c.failedLocked(&batch{}, err, restored)
	c.mu.Unlock()
	if restored {
		c.disk.signal() // the committer may have readings to write again
		return nil
	}
	c.warnDisk(err, false)
	return err
}

func (c *committer) verifyAll(segments []*segment) error {
	for _, s := range segments {
		if s.size == 0 { // the file holds nothing that is needed
			continue
		}
		if err := c.handles.files.Verify(s.name, s.info, s.size); err != nil {
			return err
		}
	}
	return nil
}

// verifyTail returns nil if the file that the next Open will find holds what was written to the tail.
func (c *committer) verifyTail() error {
	if c.tail == nil {
		return nil
	}
	return c.verifyAll([]*segment{c.tail})
}
