package policy

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func lost(r transport.Reason) error { return &transport.Error{Reason: r, Host: "hub"} }

func dps(v provisioning.Verdict, retryAfter time.Duration) error {
	return &provisioning.Error{Verdict: v, Host: "dps", RetryAfter: retryAfter}
}

// An outageModel is a hub and a DPS as the policy sees them, at times since the loss of the hub. Attempts take
// no time, but a registration takes a second.
type outageModel struct {
	hub func(at time.Duration) error // what an attempt at the assigned hub meets; nil means that it is accepted
	dps func(at time.Duration) error // what a registration meets; nil means that DPS names a hub
	// moved is the time from which DPS names another hub, which accepts the device. Zero means never.
	moved time.Duration
	// lives is how long each session lasts before the hub ends it. Zero means for good.
	lives time.Duration
	acks  bool // whether the hub acknowledges a reading in a session
	cause error
}

const registration = time.Second // how long DPS takes

// run lets a device that was connected lose its hub, and returns the time until it is connected for good, and
// the times of its attempts. It gives up after a limit.
func (m outageModel) run(p Policy, limit time.Duration, random func() float64) (back time.Duration, hubs,
	asks []time.Duration) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	at := func() time.Duration { return now.Sub(start) }
	h := History{assigned: true}
	h.Lose(p, Ending{time.Hour, true, m.cause}, now, random())
	other := false
	for at() < limit {
		c := p.Choose(h, now)
		now = now.Add(c.Wait)
		h.Try(p, c.Target, now)
		if c.Target == DPS {
			asks = append(asks, at())
			err := m.dps(at())
			now = now.Add(registration)
			if err != nil {
				h.FailDPS(p, err, now, random())
				continue
			}
			changed := m.moved > 0 && at() >= m.moved && !other
			other = other || changed
			h.Answer(p, changed, now, random())
			if p.Choose(h, now).Wait > 0 {
				continue
			}
			h.Try(p, Hub, now)
		}
		hubs = append(hubs, at())
		var err error
		if !other {
			err = m.hub(at())
		}
		switch {
		case err != nil:
			h.FailHub(p, err, now, random())
		case m.lives > 0 && !other && at() < limit:
			now = now.Add(m.lives)
			h.Lose(p, Ending{m.lives, m.acks, lost(transport.Closed)}, now, random())
		default:
			return at(), hubs, asks
		}
	}
	return limit, hubs, asks
}

func down(from, until time.Duration, err error) func(time.Duration) error {
	return func(at time.Duration) error {
		if at >= from && at < until {
			return err
		}
		return nil
	}
}

const ever = 1000 * time.Hour

func TestTheDeviceIsBackSoonAfterTheWayIsOpen(t *testing.T) {
	refused, unavailable := lost(transport.ConnectionRefused), dps(provisioning.Unavailable, 0)
	never := down(0, ever, refused)
	for _, c := range []struct {
		name string
		m    outageModel
		most time.Duration // from the loss
	}{
		{"the hub dies and the device is moved", outageModel{hub: never, dps: down(0, 0, nil), moved: 1}, registration},
		{
			"the device is moved and its old hub refuses it",
			outageModel{hub: down(0, ever, lost(transport.NotAuthorized)), dps: down(0, 0, nil), moved: 1},
			registration + 100*time.Millisecond,
		},
		{"the hub drops everybody for a moment", outageModel{hub: down(0, 0, nil), dps: down(0, 0, nil)}, 0},
		{
			"the hub refuses the token once",
			outageModel{hub: down(0, 1, lost(transport.NotAuthorized)), dps: down(0, 0, nil)}, 200 * time.Millisecond,
		},
		{
			"the hub is away for 3 s", outageModel{hub: down(0, 3*time.Second, refused), dps: down(0, 0, nil)},
			4*time.Second + registration,
		},
		{
			"the device is moved after a minute", outageModel{hub: never, dps: down(0, 0, nil), moved: time.Minute},
			time.Minute*6/5 + registration,
		},
		{
			"the device is moved after an hour", outageModel{hub: never, dps: down(0, 0, nil), moved: time.Hour},
			time.Hour + time.Minute + registration,
		},
		{
			"DPS is down for 20 s while the hub dies",
			outageModel{hub: never, dps: down(0, 20*time.Second, unavailable), moved: 1}, 24*time.Second + registration,
		},
		{
			"DPS throttles for 20 s while the hub dies",
			outageModel{hub: never, dps: down(0, 20*time.Second, dps(provisioning.Throttled, 0)), moved: 1},
			26*time.Second + registration,
		},
		{
			"hub and DPS are away for 40 s",
			outageModel{hub: down(0, 40*time.Second, refused), dps: down(0, 40*time.Second, unavailable)},
			48*time.Second + registration,
		},
		{
			"there is no way for three days",
			outageModel{hub: down(0, 72*time.Hour, refused), dps: down(0, 72*time.Hour, unavailable)},
			72*time.Hour + time.Minute + registration,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.most > time.Hour {
				t.Skip("it has many attempts")
			}
			p := Policy{}.WithDefaults()
			c.m.cause = lost(transport.Closed)
			random := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				if back, _, _ := c.m.run(p, 2*c.most+time.Minute, random.Float64); back > c.most {
					t.Fatalf("it is back after %v, want at most %v", back, c.most)
				}
			}
		})
	}
}

func TestNoMinuteHasMoreAttemptsThanItsBound(t *testing.T) {
	p := Policy{}.WithDefaults()
	random := rand.New(rand.NewPCG(3, 4))
	errs := []error{
		nil, nil, lost(transport.ConnectionRefused), lost(transport.NotAuthorized), lost(transport.TimedOut),
		lost(transport.Reset),
	}
	answers := []error{nil, nil, dps(provisioning.Unavailable, 0), dps(provisioning.Throttled, time.Second),
		dps(provisioning.Refused, 0)}
	for range 300 {
		m := outageModel{
			hub:   func(time.Duration) error { return errs[random.IntN(len(errs))] },
			dps:   func(time.Duration) error { return answers[random.IntN(len(answers))] },
			lives: time.Duration(1 + random.Int64N(int64(5*time.Second))), acks: random.IntN(2) == 0,
			cause: lost(transport.Closed),
		}
		_, hubs, asks := m.run(p, 30*time.Minute, random.Float64)
		if n := busiestMinute(hubs); n > p.HubRate {
			t.Fatalf("%d attempts at the hub in a minute: %+v", n, m)
		}
		if n := busiestMinute(asks); n > p.DPSRate {
			t.Fatalf("%d registrations in a minute: %+v", n, m)
		}
	}
}

func TestALongOutageHasTwoAttemptsAMinute(t *testing.T) {
	p := Policy{}.WithDefaults()
	random := rand.New(rand.NewPCG(5, 6))
	m := outageModel{
		hub: down(0, ever, lost(transport.ConnectionRefused)), dps: down(0, ever, dps(provisioning.Unavailable, 0)),
		cause: lost(transport.Closed),
	}
	_, hubs, asks := m.run(p, time.Hour, random.Float64)
	for name, times := range map[string][]time.Duration{"hub": hubs, "DPS": asks} {
		late := slices.DeleteFunc(slices.Clone(times), func(at time.Duration) bool { return at < 10*time.Minute })
		if n := busiestMinute(late); n > 2 || len(late) < 40 {
			t.Errorf("%s: %d attempts after ten minutes, %d in one of them", name, len(late), n)
		}
	}
}

// busiestMinute returns the largest number of times within a minute.
func busiestMinute(times []time.Duration) (most int) {
	first := 0
	for i, at := range times {
		for at-times[first] >= time.Minute {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func TestAPolicyWithTimesThatWouldOverflowIsRefused(t *testing.T) {
	const most = math.MaxInt64
	err := Policy{
		Hold: most, HubWait: most, DPSWait: most, LastWait: most, AfterSilence: most, FirstRest: most, LastRest: most,
		Spread: most, FightWindow: most,
	}.Check()
	if wrong := settings.All(err); len(wrong) != 9 {
		t.Errorf("%d fields are wrong: %v", len(wrong), err)
	}
}
