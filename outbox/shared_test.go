package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"giantlizard.example/failover/statefile"
)

// linked makes n state directories whose outboxes are symbolic links to one directory, as cp -a of a state
// directory with such a link does.
func linked(t *testing.T, n int) (states []string) {
	t.Helper()
	top := t.TempDir()
	big := filepath.Join(top, "big")
	must(t, os.Mkdir(big, 0o700))
	for i := range n {
		state := filepath.Join(top, fmt.Sprint("st", i))
		must(t, os.Mkdir(state, 0o700), os.Symlink(big, filepath.Join(state, "outbox")))
		states = append(states, state)
	}
	return states
}

func TestTwoProcessesDoNotShareAnOutboxBehindALink(t *testing.T) {
	states := linked(t, 2)
	first := openHomedIn(t, states[0], Options{})
	first.put(5)
	owner := statefile.NewDir(states[1], nil, nil)
	must(t, owner.Acquire())
	defer owner.Close()
	if _, err := Open(filepath.Join(states[1], "outbox"), Options{Owner: owner}); !errors.Is(err, statefile.ErrLocked) {
		t.Fatalf("a second process: %v", err)
	}
	first.put(5)
	must(t, first.Close())
	first.owner.Close()
	first.wantNothingLost()
	second, err := Open(filepath.Join(states[1], "outbox"), Options{Owner: owner})
	must(t, err)
	defer second.Close()
	if n, _ := second.Pending(); n != 10 {
		t.Errorf("after the first has ended, %d readings are pending, want 10", n)
	}
}

func TestOutboxThatBecomesALinkToTheOutboxOfAnotherProcessTakesNoReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no patrol comes between
		states := linked(t, 2)
		first, second := openHomedIn(t, states[0], Options{}), openHomed(t, Options{})
		first.put(5)
		second.put(5)
		synctest.Wait()
		must(t, os.Rename(second.dir(), second.dir()+".old"), os.Symlink(first.dir(), second.dir()))
		if id, err := second.Put(t.Context(), of("reading"), Stamp{}); !errors.Is(err, statefile.ErrLocked) {
			t.Errorf("Put returns %v, %v", id, err)
		}
		first.put(5)
		first.wantNothingLost()
		must(t, os.Remove(second.dir()), os.Rename(second.dir()+".old", second.dir()))
		second.put(5)
		second.wantNothingLost()
	})
}

// The process itself takes a lock file that was removed again, but only at its next patrol or Put.
func TestOutboxIsStillLockedWhenTheLockFileBesideItIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHomed(t, Options{})
		h.put(5)
		synctest.Wait()
		must(t, os.Remove(filepath.Join(h.state, "lock")))
		owner := statefile.NewDir(h.state, nil, nil)
		must(t, owner.Acquire())
		if _, err := Open(h.dir(), Options{Owner: owner}); !errors.Is(err, statefile.ErrLocked) {
			t.Errorf("a second process: %v", err)
		}
		owner.Close()
		h.put(5)
		h.wantNothingLost()
	})
}

// The disk to which the link leads is mounted late.
func TestOutboxThatAppearsAfterTheStartIsNotMixedWithAnother(t *testing.T) {
	h := openHomed(t, Options{})
	h.put(3)
	must(t, h.Close(), os.Rename(h.dir(), h.dir()+".later"))
	h.reopen()
	must(t, os.Rename(h.dir()+".later", h.dir()))
	if id, err := h.Put(t.Context(), of("mine"), Stamp{}); err == nil ||
		!strings.Contains(err.Error(), "start it again") {
		t.Errorf("Put returns %v, %v", id, err)
	}
	_ = h.Close() // which says the same
	h.reopen()
	h.put(1)
	h.wantNothingLost()
}
