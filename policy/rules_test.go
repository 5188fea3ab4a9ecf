package policy

import (
	"testing"
	"time"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A past is what has happened to a device, with the luck of each wait.
type past struct {
	History
	p    Policy
	now  time.Time
	luck float64
}

func (x *past) lose(lived time.Duration, acknowledged bool, r transport.Reason) *past {
	x.Lose(x.p, Ending{lived, acknowledged, lost(r)}, x.now, x.luck)
	return x
}

func (x *past) failHub(r transport.Reason) *past {
	x.Try(x.p, Hub, x.now)
	x.FailHub(x.p, lost(r), x.now, x.luck)
	return x
}

func (x *past) failDPS(v provisioning.Verdict, retryAfter time.Duration) *past {
	x.Try(x.p, DPS, x.now)
	x.FailDPS(x.p, dps(v, retryAfter), x.now, x.luck)
	return x
}

func (x *past) answer(other bool) *past {
	x.Try(x.p, DPS, x.now)
	x.Answer(x.p, other, x.now, x.luck)
	return x
}

func (x *past) pass(d time.Duration) *past {
	x.now = x.now.Add(d)
	return x
}

func TestThePolicyChoosesByWhatHasHappened(t *testing.T) {
	const s = time.Second
	connected := func(x *past) *past { return x.answer(true).pass(s) }
	lostHub := func(x *past) *past { return connected(x).lose(10*s, true, transport.Closed) }
	for name, c := range map[string]struct {
		past func(*past) *past
		want Choice // with the least luck; with the most, Wait is a third longer
	}{
		"a start without an assignment": {
			func(x *past) *past { x.Begin(x.p, false, x.now, x.luck); return x }, Choice{Target: DPS},
		},
		"a start with one": {
			func(x *past) *past { x.Begin(x.p, true, x.now, x.luck); return x }, Choice{Target: Hub},
		},
		"the stored hub cannot be reached": {
			func(x *past) *past {
				x.Begin(x.p, true, x.now, x.luck)
				return x.failHub(transport.ConnectionRefused)
			}, Choice{Target: DPS},
		},
		"the session ended after a reading was acknowledged": {lostHub, Choice{Target: Hub}},
		"the hub became silent": {
			func(x *past) *past { return connected(x).lose(time.Hour, true, transport.Silence) },
			Choice{Target: Hub},
		},
		"the session ended before anything was acknowledged": {
			func(x *past) *past { return connected(x).lose(s, false, transport.Closed) }, Choice{Target: DPS},
		},
		"the hub failed": {
			func(x *past) *past { return lostHub(x).failHub(transport.ConnectionRefused) }, Choice{Target: DPS},
		},
		"the hub refused the token": {
			func(x *past) *past { return lostHub(x).failHub(transport.NotAuthorized) },
			Choice{Target: Hub, Wait: refusedRetry},
		},
		"the hub refused the token twice": {
			func(x *past) *past {
				return lostHub(x).failHub(transport.NotAuthorized).pass(refusedRetry).failHub(transport.NotAuthorized)
			}, Choice{Target: DPS},
		},
		"DPS named the hub that has failed": {
			func(x *past) *past { return lostHub(x).failHub(transport.ConnectionRefused).answer(false) },
			Choice{Target: Hub, Wait: 3 * s / 4},
		},
		"DPS named another hub": {
			func(x *past) *past { return lostHub(x).failHub(transport.ConnectionRefused).answer(true) },
			Choice{Target: Hub},
		},
		"DPS failed, and the hub is due first": {
			func(x *past) *past {
				return lostHub(x).failHub(transport.ConnectionRefused).failDPS(provisioning.Unavailable, 0)
			}, Choice{Target: Hub, Wait: 3 * s / 4},
		},
		"DPS failed at the start": {
			func(x *past) *past { return x.failDPS(provisioning.Unavailable, 0) }, Choice{Target: DPS, Wait: 3 * s / 2},
		},
		"DPS throttled the device without a time": {
			func(x *past) *past { return x.failDPS(provisioning.Throttled, 0) }, Choice{Target: DPS, Wait: 3 * s},
		},
		"after a minute both are tried after a fifth of it": {
			func(x *past) *past {
				return lostHub(x).pass(60*s).failDPS(provisioning.Unavailable, 0).failHub(transport.TimedOut)
			}, Choice{Target: DPS, Wait: 9 * s},
		},
		"after an hour the waits are at most a minute": {
			func(x *past) *past {
				return lostHub(x).pass(time.Hour).failDPS(provisioning.Unavailable, 0).failHub(transport.TimedOut)
			}, Choice{Target: DPS, Wait: 45 * s},
		},
		"something has changed": {
			func(x *past) *past {
				lostHub(x).pass(time.Hour).failDPS(provisioning.Unavailable, 0).failHub(transport.TimedOut)
				x.Restart(false, x.now)
				return x
			}, Choice{Target: DPS},
		},
	} {
		for _, luck := range []float64{0, 1} {
			x := c.past(&past{p: Policy{}.WithDefaults(), now: start, luck: luck})
			want := c.want
			if want.Wait != refusedRetry {
				want.Wait += want.Wait / 3 * time.Duration(luck)
			}
			if got := x.p.Choose(x.History, x.now); got != want {
				t.Errorf("%s, luck %v: %+v, want %+v", name, luck, got, want)
			}
		}
	}
}

func TestDPSIsNotAskedBeforeTheTimeThatItNamed(t *testing.T) {
	for _, v := range []provisioning.Verdict{
		provisioning.Throttled, provisioning.Unavailable, provisioning.Refused,
	} {
		x := &past{p: Policy{}.WithDefaults(), now: start}
		x.failDPS(v, 10*time.Minute)
		if c := x.p.Choose(x.History, x.now); c.Wait != 10*time.Minute {
			t.Errorf("%s with retry-after 10 min: %+v", v, c)
		}
		x.Restart(false, x.now)
		if c := x.p.Choose(x.History, x.now); c.Wait != 10*time.Minute {
			t.Errorf("%s with retry-after 10 min, and the network is back: %+v", v, c)
		}
	}
}

func TestARefusedDeviceRestsUntilSomethingMayHaveCausedTheRefusal(t *testing.T) {
	x := &past{p: Policy{}.WithDefaults(), now: start}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute,
		15 * time.Minute, 15 * time.Minute} {
		x.failDPS(provisioning.Refused, 0)
		c := x.p.Choose(x.History, x.now)
		if c.Wait != want/2 {
			t.Errorf("it rests for %v at least, want %v", c.Wait, want/2)
		}
		x.pass(c.Wait)
	}
	x.failDPS(provisioning.Refused, 0)
	x.Restart(true, x.now)
	if c := x.p.Choose(x.History, x.now); c.Wait != 0 {
		t.Errorf("it rests for %v although the refusal may have had another cause", c.Wait)
	}
}

func TestOnlyTheFirstAttemptAtASilentHubHasAShorterTimeout(t *testing.T) {
	x := &past{p: Policy{}.WithDefaults(), now: start}
	x.answer(true).pass(time.Hour).lose(time.Hour, true, transport.Silence)
	for i, want := range []time.Duration{2 * time.Second, 5 * time.Second} {
		link := x.Try(x.p, Hub, x.now).For(transport.Link{})
		if link.ConnectTimeout != want || link.AnswerTimeout != want {
			t.Errorf("attempt %d: %v, and %v for an answer; want %v",
				i+1, link.ConnectTimeout, link.AnswerTimeout, want)
		}
		if link := x.Try(x.p, Hub, x.now).For(transport.Link{ConnectTimeout: time.Second}); i == 0 &&
			link.ConnectTimeout != time.Second {
			t.Errorf("a shorter timeout of the link became %v", link.ConnectTimeout)
		}
	}
}

func TestAHostThatAcceptsTCPAndAnswersLateIsGivenMoreTime(t *testing.T) {
	const s = time.Second
	x := &past{p: Policy{}.WithDefaults(), now: start}
	x.answer(true).lose(time.Hour, true, transport.Closed)
	fail := func(stalled bool) {
		e := &transport.Error{Reason: transport.TimedOut, Stalled: stalled}
		x.FailHub(x.p, e, x.now, x.luck)
		x.FailDPS(x.p, e, x.now, x.luck)
	}
	want := func(when string, answer time.Duration) {
		t.Helper()
		for _, target := range []Target{Hub, DPS} {
			link := x.Try(x.p, target, x.now).For(transport.Link{})
			if link.ConnectTimeout != 5*s || link.AnswerTimeout != answer {
				t.Errorf("%s: %v for the connection, %v for an answer; want 5 s and %v",
					when, link.ConnectTimeout, link.AnswerTimeout, answer)
			}
		}
	}
	x.pass(10 * time.Minute)
	fail(false)
	want("no host accepts TCP", 5*s)
	x.Lose(x.p, Ending{Progress: true}, x.now, x.luck) // a new outage
	x.pass(20 * s)
	fail(true)
	want("after 20 s", 5*s)
	x.pass(40 * s)
	fail(true)
	want("after a minute", 12*s)
	x.pass(40 * s)
	fail(false)
	want("a dead address afterwards", 12*s)
	x.pass(time.Hour)
	fail(true)
	want("after an hour", 40*s)
	x.Accept(9 * s)
	x.Lose(x.p, Ending{Progress: true}, x.now, x.luck)
	want("after a connection that took 9 s", 18*s)
	x.Accept(100 * time.Millisecond)
	want("after a connection that took 0.1 s", 5*s)
}

func TestManyEarlyEndsAreAFightOnlyWithoutAnotherExplanation(t *testing.T) {
	play := func(lived time.Duration, times int, between func(*past)) (fights int) {
		x := &past{p: Policy{}.WithDefaults(), now: start}
		x.answer(true)
		for range times {
			x.pass(lived).lose(lived, true, transport.Closed)
			if x.Fight {
				fights++
			}
			between(x)
		}
		return fights
	}
	nothing := func(*past) {}
	if n := play(4*time.Second, 14, nothing); n != 0 {
		t.Errorf("%d fights in less than a minute", n)
	}
	if n := play(6*time.Second, 11, nothing); n != 0 {
		t.Errorf("%d fights after 11 sessions", n)
	}
	if n := play(6*time.Second, 13, nothing); n != 1 {
		t.Errorf("%d fights after 13 sessions in 72 s, want 1", n)
	}
	if n := play(21*time.Second, 100, nothing); n != 0 {
		t.Errorf("%d fights with sessions that lasted", n)
	}
	if n := play(6*time.Second, 100, func(x *past) { x.failHub(transport.NotAuthorized); x.answer(true) }); n != 0 {
		t.Errorf("%d fights although an operator moves the device", n)
	}
	if n := play(6*time.Second, 100, func(x *past) { x.failHub(transport.ConnectionRefused) }); n != 0 {
		t.Errorf("%d fights although the hub restarts", n)
	}
}

// An operator moves the device every four seconds, six times.
func TestMovesOneAfterTheOtherCostARegistrationEach(t *testing.T) {
	x := &past{p: Policy{}.WithDefaults(), now: start}
	x.answer(true)
	for i := range 6 {
		moved := x.pass(4 * time.Second).now
		x.lose(4*time.Second, true, transport.Closed)
		for attempts := 0; ; attempts++ {
			c := x.p.Choose(x.History, x.now)
			if x.pass(c.Wait); c.Target == DPS {
				break
			}
			x.failHub(transport.NotAuthorized)
		}
		x.pass(registration).answer(true)
		c := x.p.Choose(x.History, x.now)
		x.pass(c.Wait).Try(x.p, Hub, x.now)
		if took := x.now.Sub(moved); took > registration+100*time.Millisecond {
			t.Errorf("move %d took %v", i+1, took)
		}
	}
}

func TestAFleetSharesItsHubAndDPS(t *testing.T) {
	for _, luck := range []float64{0, 0.5, 1} {
		x := &past{p: Policy{Spread: 100 * time.Second}.WithDefaults(), now: start, luck: luck}
		wait := func() time.Duration { return x.p.Choose(x.History, x.now).Wait }
		part := func(d time.Duration, share float64) time.Duration { return time.Duration(share * float64(d)) }
		x.Begin(x.p, false, x.now, luck)
		if got, want := wait(), part(600*time.Second, luck); got != want {
			t.Errorf("luck %v: the first registration after %v, want %v", luck, got, want)
		}
		x.answer(true).pass(time.Hour).lose(time.Hour, true, transport.Closed)
		if got, want := wait(), part(100*time.Second, luck); got != want {
			t.Errorf("luck %v: the first attempt at the lost hub after %v, want %v", luck, got, want)
		}
		x.pass(wait()).failHub(transport.ConnectionRefused)
		next := min(part(500*time.Second, luck), 100*time.Second)
		if got := wait(); got != next {
			t.Errorf("luck %v: the next attempt after %v, want %v", luck, got, next)
		}
	}
}
