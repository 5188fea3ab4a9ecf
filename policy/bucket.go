package policy

import "time"

// A bucket bounds how often one target is tried. It allows two fifths of a minute's attempts at once, and spreads
// the rest evenly, so that no minute has more.
type bucket struct {
	paid time.Time // time at which the attempts so far are paid for
}

// split returns the number of attempts allowed at once, and the interval between further ones.
func split(perMinute int) (burst int, interval time.Duration) {
	burst = max(1, perMinute*2/5)
	return burst, time.Minute / time.Duration(max(1, perMinute-burst))
}

// next returns the earliest time of the next attempt.
func (b bucket) next(perMinute int) time.Time {
	burst, interval := split(perMinute)
	return b.paid.Add(-time.Duration(burst-1) * interval)
}

// take notes an attempt.
func (b *bucket) take(now time.Time, perMinute int) {
	_, interval := split(perMinute)
	b.paid = latest(b.paid, now).Add(interval)
}
