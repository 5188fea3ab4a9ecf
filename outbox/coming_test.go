package outbox

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// untilNothingComes returns how long there was something to come, at most a day.
func untilNothingComes(d *device) time.Duration {
	began := time.Now()
	never := time.After(24 * time.Hour)
	for d.RequestSync() {
		select {
		case <-d.Changed():
		case <-never:
			return time.Since(began)
		}
	}
	return time.Since(began)
}

func TestRequestSyncMakesReadingsSafeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{Sync: time.Hour})
		fillUp(t, d, 3)
		want(t, "handed out", handedOut(d), nil)
		want(t, "they came after", untilNothingComes(d), 0)
		want(t, "handed out", handedOut(d), []string{"1", "2", "3"})
	})
}

func TestRequestSyncReportsAReadingThatIsBeingWritten(t *testing.T) {
	for _, every := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			d := boot(t, Options{Sync: every})
			d.disk.fails(func(op, _ string, _ int) error {
				if op == "write" {
					time.Sleep(10 * time.Second)
				}
				return nil
			})
			first := waiter(t.Context(), d)
			behind := waiter(t.Context(), d)
			want(t, "they came after", untilNothingComes(d), 20*time.Second)
			want(t, "put", []error{<-first, <-behind}, []error{nil, nil})
			want(t, "handed out", handedOut(d), []string{"1", "2"})
		})
	}
}

func TestRequestSyncIgnoresReadingsThatTheDiskRefuses(t *testing.T) {
	for _, full := range []Policy{DropOldest, DropNewest, Block} {
		synctest.Test(t, func(t *testing.T) {
			d := boot(t, Options{Sync: time.Hour, Limits: Limits{Full: full}})
			fillUp(t, d, 1)
			d.disk.fails(func(op, _ string, _ int) error {
				if op != "sync" {
					return nil
				}
				time.Sleep(time.Second)
				return syscall.EROFS
			})
			want(t, string(full)+": it was waited for for", untilNothingComes(d), time.Second)
			d.disk.breaks(nil) // so that the reading can be written at the end
		})
	}
}
