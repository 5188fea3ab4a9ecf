package machine

import (
	"context"
	"sync"
	"time"
)

// A term is how long a SAS token is used. Over MQTT a new token needs a new connection, so the device renews
// it before the hub ends the session. While a machine sleeps, its monotonic clock stands still; when its wall
// clock is set back, that clock is late. So the term ends when the first of the two clocks reaches its end.
type term struct {
	earliest time.Time // the wall clock does not end the term before this time
	end      time.Time // by the monotonic clock
	wallEnd  time.Time // by the wall clock
}

// newTerm returns the term of a token that is made now: 80 to 85 % of its life, by luck in [0, 1). cutShort is when the
// wall clock last ended a term, or zero. It may do so only once in a tenth of a token's life.
func newTerm(now, wall time.Time, life time.Duration, luck float64, cutShort time.Time) term {
	use := time.Duration((0.80 + 0.05*luck) * float64(life))
	t := term{end: now.Add(use), wallEnd: wall.Round(0).Add(use)}
	if !cutShort.IsZero() {
		t.earliest = cutShort.Add(life / 10)
	}
	return t
}

// left returns for how long the token can still be used.
func (t term) left(now, wall time.Time) time.Duration {
	return min(t.end.Sub(now), max(t.earliest.Sub(now), t.wallEnd.Sub(wall.Round(0))))
}

// context returns a context that ends with the term or with ctx. stop waits for the goroutine that watches the clocks.
func (t term) context(ctx context.Context, c *clock) (inner context.Context, stop func()) {
	inner, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		defer cancel()
		c.wait(inner, func() time.Duration {
			wall, _ := c.look()
			return t.left(time.Now(), wall)
		})
	})
	return inner, func() { cancel(); watch.Wait() }
}
