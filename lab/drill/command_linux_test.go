package drill_test

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/drill"
)

// In a container an orphan that has ended may stay a zombie. The client is not to blame.
func TestZombieOrphanDoesNotKeepTheClientAlive(t *testing.T) {
	// for prctl: orphans become children of this process, which does not wait for them, as in such a
	// container
	const subreaper = 36
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, subreaper, 1, 0, 0, 0, 0); e != 0 {
		t.Skip(e)
	}
	defer func() {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_PRCTL, subreaper, 0, 0, 0, 0, 0)
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				return
			}
		}
	}()
	up := filepath.Join(t.TempDir(), "up")
	r, err := drill.Command{Line: "sleep 100 & echo >" + up + "; exec sleep 100"}.Start(place())
	if err != nil {
		t.Fatal(err)
	}
	awaitFile(t, up)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if u := r.Stop(ctx); u.Died != "" {
		t.Errorf("%+v", u)
	}
}
