package machine

import (
	"context"
	"sync"
	"time"
)

// A term is how long a SAS token is used: over MQTT a new one needs a new connection, so the device renews it before a
// hub cuts the session. A machine that slept sees its wall clock jump and its monotonic clock stand still, and one whose
// clock is set sees the opposite; so the first of the two to reach the end counts.
type term struct {
	earliest time.Time // not before, whatever the wall clock does: a tenth of the token's life
	end      time.Time // by the monotonic clock
	wallEnd  time.Time // by the wall clock
}

// newTerm is the term of a token minted now: 80 to 85 % of its life, by luck in [0, 1).
func newTerm(now, wall time.Time, life time.Duration, luck float64) term {
	use := time.Duration((0.80 + 0.05*luck) * float64(life))
	return term{earliest: now.Add(life / 10), end: now.Add(use), wallEnd: wall.Round(0).Add(use)}
}

// over tells whether the term has ended.
func (t term) over(now, wall time.Time) bool {
	return !now.Before(t.end) || !now.Before(t.earliest) && !wall.Round(0).Before(t.wallEnd)
}

// wallCheck is how often the wall clock is looked at: no timer follows its jumps.
const wallCheck = 5 * time.Second

// context ends with the term or with ctx. stop waits for what watches the clocks.
func (t term) context(ctx context.Context, wall func() time.Time) (inner context.Context, stop func()) {
	inner, cancel := context.WithDeadline(ctx, t.end)
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(wallCheck)
		defer tick.Stop()
		for !t.over(time.Now(), wall()) {
			select {
			case <-tick.C:
			case <-inner.Done():
				return
			}
		}
		cancel()
	})
	return inner, func() { cancel(); watch.Wait() }
}
