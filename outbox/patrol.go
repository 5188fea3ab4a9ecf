package outbox

import (
	"time"

	"giantlizard.example/failover/statefile"
)

// A log does not trust that an open file or a lock is still what its path leads to: somebody may have
// removed, renamed or replaced the directory or a file in it. It verifies that before it answers a
// Put, and at each patrol. What is missing is restored.

// patrolInterval is how often the files are verified while readings are pending.
const patrolInterval = statefile.RepairInterval

// nextPatrol returns how long to wait at most, and whether a patrol is due.
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

// patrol verifies the directory and every segment, and restores what is not there. It returns an error
// if that failed.
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
		c.disk.signal() // there may be something to write again
		return nil
	}
	c.warnDisk(err, false)
	return err
}

func (c *committer) verifyAll(segments []*segment) error {
	for _, s := range segments {
		if s.size == 0 { // nothing in it counts
			continue
		}
		if err := c.handles.files.Verify(s.name, s.info, s.size); err != nil {
			return err
		}
	}
	return nil
}

// verifyTail returns nil if what was written last is in the file that the next Open will find.
func (c *committer) verifyTail() error {
	if c.tail == nil {
		return nil
	}
	return c.verifyAll([]*segment{c.tail})
}
