package machine

import (
	"context"
	"sync"
	"time"
)

// A term is the period for which a SAS token is used. Over MQTT a new token needs a new connection, so the
// device renews the token before the hub ends the session. The monotonic clock may stand still while the
// machine sleeps, and the wall clock is late after somebody has set it back. So the term ends as soon as one
// of the two clocks reaches its end.
type term struct {
	earliest time.Time // the wall clock does not end the term before this time
	end      time.Time // end of the term by the monotonic clock
	wallEnd  time.Time // end of the term by the wall clock
}

// newTerm returns the term of a token that is made now, when the wall clock shows wall. The term lasts for 80
// to 85 % of life; luck, a random number in [0, 1), decides. cutShort is the time at which the wall clock
// last ended a term; zero means never. The wall clock may end a term only once in a tenth of life.
func newTerm(now, wall time.Time, life time.Duration, luck float64, cutShort time.Time) term {
	use := time.Duration((0.80 + 0.05*luck) * float64(life))
	t := term{end: now.Add(use), wallEnd: wall.Round(0).Add(use)}
	if !cutShort.IsZero() {
		t.earliest = cutShort.Add(life / 10)
	}
	return t
}

// left returns how much of the term is left, at most zero if the term has ended.
func (t term) left(now, wall time.Time) time.Duration {
	return min(t.end.Sub(now), max(t.earliest.Sub(now), t.wallEnd.Sub(wall.Round(0))))
}

// context returns a context that ends with the term or with ctx. stop ends the context, and waits for the
// goroutine that watches the clocks.
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
