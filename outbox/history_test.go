package outbox

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/slow"
)

// A hub that is slower than the readings come makes each drop a range of its own, more than are
// remembered one by one.
func TestEachDropIsCountedOnce(t *testing.T) {
	slow.Test(t)
	for _, full := range []Policy{DropNewest, DropOldest} {
		for _, every := range []time.Duration{0, time.Second} {
			synctest.Test(t, func(t *testing.T) {
				d := boot(t, Options{Limits: Limits{Readings: 10, Full: full}, Sync: every, segmentSize: 8 << 10})
				random := rand.New(rand.NewPCG(1, 2))
				d.disk.fails(func(op, _ string, _ int) error {
					if op == "sync" && random.IntN(50) == 0 {
						return syscall.EIO
					}
					return nil
				})
				delivered := uint64(0)
				for range 2 {
					for range maxKnownDrops * 2 / 3 {
						for range 2 {
							// Put may refuse the reading, because there is no room or the disk is full
							_, _ = d.Put(t.Context(), of("reading"), Stamp{})
						}
						time.Sleep(every)
						if d.deliver() > 0 {
							delivered++
						}
					}
					time.Sleep(2 * retryDelay) // until a failure is over
					if every > 0 {
						time.Sleep(every)
					}
					_ = d.Close() // which may be one
					d.wantAccounted(delivered)
					d.Log = nil
					d.reboot()
				}
			})
		}
	}
}

// wantAccounted wants each number to be delivered, to wait, or to be counted as dropped.
func (d *device) wantAccounted(delivered uint64) {
	d.Helper()
	s, err := readFiles("", d.disk)
	if err != nil {
		d.Fatal(err)
	}
	givenUp := uint64(0)
	for _, x := range s.Dropped {
		givenUp += x.Numbers.Count()
	}
	for _, f := range s.Forgotten {
		givenUp += f.Count
		if f.Highest >= s.Last {
			d.Errorf("up to %d of %d are forgotten", f.Highest, s.Last)
		}
	}
	if s.Last != delivered+uint64(s.Readings)+givenUp {
		d.Errorf("of %d, %d were delivered, %d wait and %d were dropped", s.Last, delivered, s.Readings, givenUp)
	}
}
