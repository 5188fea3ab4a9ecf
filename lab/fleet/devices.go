package fleet

import (
	"math"
	"time"

	"giantlizard.example/failover/policy"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// Results simulates the fleet with the policy of this project, with and without Spread, and with three policies that
// other clients have.
func (p Plan) Results() []Result {
	spread := policy.Policy{Spread: p.Spread()}.WithDefaults()
	return []Result{
		p.run("this device, --spread "+p.Spread().String(), ours(spread)),
		p.run("this device without --spread", ours(policy.Policy{}.WithDefaults())),
		p.run("a fixed 10 s", naive(func(int, float64) time.Duration { return 10 * time.Second })),
		p.run("1 s, doubling to 60 s, no jitter", naive(func(n int, _ float64) time.Duration { return doubling(n) })),
		p.run("full jitter, 1 s to 60 s", naive(func(n int, luck float64) time.Duration {
			return time.Duration(luck * float64(doubling(n)))
		})),
	}
}

func doubling(n int) time.Duration {
	return time.Duration(min(60, math.Pow(2, float64(min(n, 10)))) * float64(time.Second))
}

// An ownDevice has the policy of this project.
type ownDevice struct {
	policy  policy.Policy
	history policy.History
	luck    func() float64
}

func ours(p policy.Policy) func(luck func() float64) device {
	return func(luck func() float64) device {
		d := &ownDevice{policy: p, luck: luck}
		d.history.Begin(p, true, begin.Add(-time.Hour), luck())
		cause := &transport.Error{Reason: transport.Closed}
		d.history.Lose(p, policy.Ending{Lived: time.Hour, Progress: true, Cause: cause}, begin, luck())
		return d
	}
}

func (d *ownDevice) next(now time.Time) (atHub bool, at time.Time) {
	c := d.policy.Choose(d.history, now)
	return c.Target == policy.Hub, now.Add(c.Wait)
}

func (d *ownDevice) try(atHub bool, now time.Time) {
	target := policy.DPS
	if atHub {
		target = policy.Hub
	}
	d.history.Try(d.policy, target, now)
}

func (d *ownDevice) fail(atHub bool, retryAfter time.Duration, now time.Time) {
	if atHub {
		d.history.FailHub(d.policy, &transport.Error{Reason: transport.ServerUnavailable}, now, d.luck())
		return
	}
	err := &provisioning.Error{Verdict: provisioning.Throttled, RetryAfter: retryAfter}
	d.history.FailDPS(d.policy, err, now, d.luck())
}

func (d *ownDevice) assign(other bool, now time.Time) {
	d.history.Answer(d.policy, other, now, d.luck())
}

// A naiveDevice tries its hub and DPS in turn, and waits after each attempt that failed.
type naiveDevice struct {
	wait     func(failures int, luck float64) time.Duration
	luck     func() float64
	failures int
	atHub    bool // whether the next attempt is at the hub
	at       time.Time
}

func naive(wait func(failures int, luck float64) time.Duration) func(luck func() float64) device {
	return func(luck func() float64) device { return &naiveDevice{wait: wait, luck: luck, atHub: true, at: begin} }
}

func (d *naiveDevice) next(now time.Time) (atHub bool, at time.Time) {
	if d.at.After(now) {
		now = d.at
	}
	return d.atHub, now
}

func (d *naiveDevice) try(bool, time.Time) {}

func (d *naiveDevice) fail(atHub bool, retryAfter time.Duration, now time.Time) {
	d.at, d.atHub = now.Add(max(retryAfter, d.wait(d.failures, d.luck()))), !atHub
	d.failures++
}

func (d *naiveDevice) assign(_ bool, now time.Time) { d.at, d.atHub = now, true }
