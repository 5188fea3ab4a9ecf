package machine

import (
	"errors"
	"sync"
	"time"
)

// saveWait is how long a failover waits until the assignment is on the disk.
const saveWait = time.Second

var errSlowDisk = errors.New("machine: the disk has not taken the assignment within a second; " +
	"the device goes on without it, and a start before it has been stored asks DPS again")

// A saver stores the newest assignment while the state machine goes on: a disk that hangs, as worn flash and network file
// systems do, must not hold up a failover.
type saver struct {
	save func(Assignment) error
	warn func(error)

	mu     sync.Mutex
	newest *Assignment   // not stored yet
	ended  chan struct{} // closed when nothing is left to store; nil: nothing is
}

// keep stores an assignment, and waits for that no longer than saveWait.
func (s *saver) keep(a Assignment) {
	s.mu.Lock()
	s.newest = &a
	if s.ended == nil {
		s.ended = make(chan struct{})
		go s.run()
	}
	ended := s.ended
	s.mu.Unlock()
	wait := time.NewTimer(saveWait)
	defer wait.Stop()
	select {
	case <-ended:
	case <-wait.C:
		s.warn(errSlowDisk)
	}
}

func (s *saver) run() {
	for {
		s.mu.Lock()
		a := s.newest
		s.newest = nil
		if a == nil {
			close(s.ended)
			s.ended = nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if err := s.save(*a); err != nil {
			s.warn(err)
		}
	}
}

// wait returns when nothing is left to store.
func (s *saver) wait() {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended != nil {
		<-ended
	}
}
