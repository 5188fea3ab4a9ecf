package machine

import (
	"errors"
	"math"
	"testing"
	"time"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/transport"
)

func lost(r transport.Reason) error { return &transport.Error{Reason: r, Host: "hub"} }

func dps(v provisioning.Verdict, retryAfter time.Duration) error {
	return &provisioning.Error{Verdict: v, Host: "dps", RetryAfter: retryAfter}
}

// every reason of transport, as it can end a session or keep one from beginning.
var (
	ends = []transport.Reason{
		transport.Closed, transport.Reset, transport.Silence, transport.WriteStalled, transport.AckOverdue,
		transport.ProtocolBroken,
		transport.SubscriptionRefused, transport.TimedOut, transport.ClosedLocally, transport.TLSFailed,
		transport.Unknown,
	}
	refusals = []transport.Reason{
		transport.NameNotFound, transport.Unreachable, transport.ConnectionRefused, transport.TimedOut,
		transport.TLSFailed,
		transport.ServerUnavailable, transport.BadCredentials, transport.NotAuthorized, transport.ConnectRejected,
		transport.Closed, transport.Reset, transport.Silence, transport.WriteStalled, transport.ProtocolBroken,
		transport.KeyUnusable, transport.ClosedLocally, transport.Unknown,
	}
)

func TestThePolicyChoosesByCauseAndHistory(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := Policy{}.WithDefaults()
	const luck = 0.5
	later := now.Add(time.Minute)
	type row struct {
		name  string
		on    Event
		cause error
		h     history
		want  choice
	}
	rows := []row{
		{
			"a fight over the identity: the hub, after a long rest", Lost, lost(transport.Closed),
			history{assigned: true, fight: true, fights: 1}, choice{event: RetryHub, wait: 45 * time.Second},
		},
		{
			"it goes on: a longer one", Lost, lost(transport.Closed), history{assigned: true, fight: true, fights: 2},
			choice{event: RetryHub, wait: 90 * time.Second},
		},
		{
			"the first session ends again before it held: DPS", Lost, lost(transport.Closed),
			history{assigned: true, last: RetryHub}, choice{event: Reprovision},
		},
		{
			"so does the next: in turn, waiting", Lost, lost(transport.Closed),
			history{assigned: true, last: Reprovision, asked: true}, choice{event: RetryHub, wait: time.Second / 2},
		},
		{
			"the hub that DPS named fails too: in turn, waiting", ConnectFailed, lost(transport.ConnectionRefused),
			history{assigned: true, last: Reprovision, asked: true}, choice{event: RetryHub, wait: time.Second / 2},
		},
		{
			"then DPS again, waiting longer", ConnectFailed, lost(transport.ConnectionRefused),
			history{assigned: true, last: RetryHub, asked: true, waits: 1},
			choice{event: Reprovision, wait: time.Second},
		},
		{
			"the wait doubles", ConnectFailed, lost(transport.ConnectionRefused),
			history{assigned: true, last: RetryHub, asked: true, waits: 4},
			choice{event: Reprovision, wait: 8 * time.Second},
		},
		{
			"up to a minute", ConnectFailed, lost(transport.ConnectionRefused),
			history{assigned: true, last: RetryHub, asked: true, waits: 500},
			choice{event: Reprovision, wait: 30 * time.Second},
		},
		{
			"DPS is unavailable: the hub, waiting", Unavailable, dps(provisioning.Unavailable, 0),
			history{assigned: true, last: Reprovision, asked: true}, choice{event: RetryHub, wait: time.Second / 2},
		},
		{
			"DPS is unavailable and there is no hub: DPS, waiting", Unavailable, dps(provisioning.Unavailable, 0),
			history{last: Reprovision, asked: true}, choice{event: Reprovision, wait: time.Second / 2},
		},
		{
			"DPS is closed to us: the hub's turns go on, waiting", ConnectFailed, lost(transport.ConnectionRefused),
			history{assigned: true, last: RetryHub, asked: true, waits: 1, dpsFrom: later},
			choice{event: RetryHub, wait: time.Second},
		},
		{
			"DPS is closed to us when its turn comes at once", ConnectFailed, lost(transport.ConnectionRefused),
			history{assigned: true, dpsFrom: later}, choice{event: RetryHub, wait: time.Second / 2},
		},
		{
			"DPS is closed to us and there is no hub: its time", Unavailable, dps(provisioning.Throttled, time.Minute),
			history{last: Reprovision, asked: true, dpsFrom: later}, choice{event: Reprovision, wait: time.Minute},
		},
	}
	for _, r := range ends {
		c := choice{event: RetryHub}
		if r == transport.Silence {
			c.within = 2 * time.Second
		}
		rows = append(rows, row{"a session ended: " + string(r), Lost, lost(r), history{assigned: true}, c})
	}
	for _, r := range refusals {
		rows = append(rows,
			row{"the hub was not reached: " + string(r), ConnectFailed, lost(r),
				history{assigned: true, last: RetryHub},
				choice{event: Reprovision}})
		rows = append(rows,
			row{"a cached hub was not reached: " + string(r), ConnectFailed, lost(r), history{assigned: true},
				choice{event: Reprovision}})
	}
	for _, r := range rows {
		if got := p.choose(r.on, r.cause, r.h, now, luck); got != r.want {
			t.Errorf("%s: %+v, want %+v", r.name, got, r.want)
		}
	}
}

func TestAFleetThatLosesItsHubSpreadsItsFirstAttempts(t *testing.T) {
	p := Policy{Spread: 10 * time.Second}.WithDefaults()
	for luck, want := range map[float64]time.Duration{0: 0, 0.25: 2500 * time.Millisecond, 0.5: 5 * time.Second} {
		for trouble, h := range map[Event]history{
			RetryHub: {assigned: true}, Reprovision: {assigned: true, last: RetryHub},
		} {
			c := p.choose(Lost, lost(transport.Closed), h, time.Now(), luck)
			if want := (choice{event: trouble, wait: want}); c != want {
				t.Errorf("%+v, want %+v", c, want)
			}
		}
	}
}

func TestDPSIsAskedAgainWhenItSays(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := Policy{}.WithDefaults()
	for _, c := range []struct {
		name  string
		cause error
		h     history
		want  time.Duration
	}{
		{"429 with retry-after", dps(provisioning.Throttled, 7*time.Second), history{}, 7 * time.Second},
		{"429 without, the first time", dps(provisioning.Throttled, 0), history{}, 1500 * time.Millisecond},
		{"429 without, the third time", dps(provisioning.Throttled, 0), history{throttled: 2}, 6 * time.Second},
		{"refused", dps(provisioning.Refused, 0), history{}, 45 * time.Second},
		{"refused again", dps(provisioning.Refused, 0), history{refused: 1}, 90 * time.Second},
		{
			"refused for the hundredth time", dps(provisioning.Refused, 0), history{refused: 99},
			15 * time.Minute * 3 / 4,
		},
		{"5xx with retry-after", dps(provisioning.Unavailable, 9*time.Second), history{}, 9 * time.Second},
		{"5xx without: the back-off decides", dps(provisioning.Unavailable, 0), history{}, 0},
	} {
		c.h.failed(p, Unavailable, c.cause, now, 0.5)
		if got := c.h.dpsFrom.Sub(now); got != c.want {
			t.Errorf("%s: DPS is asked again after %v, want %v", c.name, got, c.want)
		}
	}
}

func TestASessionThatLastsResetsTheHistoryButNotWhatDPSAskedFor(t *testing.T) {
	h := history{assigned: true, last: Reprovision, asked: true, waits: 7, failures: 9, refused: 2, dpsFrom: time.Now()}
	kept := h
	h.held()
	want := history{assigned: true, refused: kept.refused, dpsFrom: kept.dpsFrom}
	if h != want {
		t.Errorf("%+v, want %+v", h, want)
	}
	h.answered()
	if h != (history{assigned: true}) {
		t.Errorf("DPS has answered, and still %+v", h)
	}
}

func TestFourShortSessionsInTwoMinutesAreAFightAndOtherEndsAreNot(t *testing.T) {
	p := Policy{}.WithDefaults()
	for _, c := range []struct {
		name         string
		cause        error
		lived, every time.Duration
		want         bool
	}{
		{"the hub closes each after 3 s", lost(transport.Closed), 3 * time.Second, 30 * time.Second, true},
		{"the hub resets each after 3 s", lost(transport.Reset), 3 * time.Second, 30 * time.Second, true},
		{"they come slowly", lost(transport.Closed), 3 * time.Second, 50 * time.Second, false},
		{"they held", lost(transport.Closed), 25 * time.Second, 30 * time.Second, false},
		{"the link fell silent", lost(transport.Silence), 13 * time.Second, 30 * time.Second, false},
	} {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		h := history{assigned: true}
		for range fightCloses {
			if h.fight {
				t.Errorf("%s: a fight too soon", c.name)
			}
			now = now.Add(c.every)
			h.lived = c.lived
			h.failed(p, Lost, c.cause, now, 0.5)
		}
		if h.fight != c.want {
			t.Errorf("%s: a fight: %t", c.name, h.fight)
		}
	}
}

func TestTheCauseIsOneStableWord(t *testing.T) {
	for want, err := range map[string]error{
		"":              nil,
		"silence":       lost(transport.Silence),
		"dps-refused":   &provisioning.Error{Verdict: provisioning.Refused, Err: lost(transport.NotAuthorized)},
		"dps-throttled": dps(provisioning.Throttled, 0),
		"error":         errors.New("anything"),
	} {
		if got := causeOf(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}

func TestAPolicyWithTimesThatWouldOverflowIsRefused(t *testing.T) {
	const most = math.MaxInt64
	err := Policy{
		Hold: most, FirstWait: most, LastWait: most, AfterSilence: most, FirstRest: most, LastRest: most, Spread: most,
	}.Check()
	if wrong := settings.All(err); len(wrong) != 7 {
		t.Errorf("%d fields are wrong: %v", len(wrong), err)
	}
}
