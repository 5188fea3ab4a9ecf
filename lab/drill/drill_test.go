package drill_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/lab/scenario"
	"giantlizard.example/failover/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(t *testing.T, text string) scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("test", text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A badDay has everything at which a client can fail: a dead hub and a silent one, moves away from
// both, and calls meanwhile.
const badDay = `# The hub dies, the other falls silent, and the operator moves the device each time.
every 7s from 3s to 17s method echo "hello"
at 70s method echo "from hub B"
at 3m method echo "home"
at 5s desired {"fanSpeed":1,"mode":"quiet"}
at 10s command setAlarm "08:30:00Z"
at 20s kill A for 70s
at 21s desired {"fanSpeed":2,"mode":"loud"}
at 35s move B
at 50s command setAlarm "08:45:00Z"
at 100s kill B silence
at 100s move A
expect recovery 20s
expect missing 0
expect duplicates 3
expect out-of-order 0
expect methods-unanswered 0
expect commands-unanswered 0
expect desired-unacknowledged 0
expect attempts-a-minute 14
end 3m10s`

// graded grades a client in a scenario by a fake clock.
func graded(t *testing.T, client func(*memnet.Network) drill.Client, s scenario.Scenario) *drill.Card {
	t.Helper()
	network := memnet.New()
	network.SetLatency(7 * time.Millisecond) // so that nothing else happens at the moments of the scenario
	d := drill.Drill{
		Client: client(network), Name: "test", DeviceID: "dev1", Interval: time.Second,
		Scenarios: []scenario.Scenario{s},
		Cloud:     emulator.Config{Listen: network.Listen, RetryAfter: time.Second},
	}
	r, err := d.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		_ = r.Print(os.Stdout)
	}
	return r.Cards[0]
}

func ours(n *memnet.Network) drill.Client {
	return drill.InProcess{Dial: n.DialContext,
		Change: func(s *machine.Settings) { s.Rand = rand.New(rand.NewPCG(1, 1)).Float64 }}
}

func TestDevicePassesAndTheCardHasTheMargins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// the newest first
		c := graded(t, ours, parse(t, strings.Replace(badDay, "out-of-order 0", "out-of-order 100", 1)))
		for _, r := range c.Missed() {
			t.Errorf("%s: %s, %s: %s", r.What, r.Value(), r.Most(), r.Note)
		}
	})
}

func TestSameClientInTheSameScenarioHasTheSameCard(t *testing.T) {
	s, err := scenario.Find("a bad day")
	if err != nil {
		s = parse(t, badDay)
	}
	var cards [2][]byte
	for i := range cards {
		synctest.Test(t, func(t *testing.T) {
			card, err := json.Marshal(graded(t, ours, s.WithSeed(5)))
			if err != nil {
				t.Fatal(err)
			}
			cards[i] = card
		})
	}
	if !bytes.Equal(cards[0], cards[1]) {
		t.Errorf("the first run:\n%s\nthe second:\n%s", cards[0], cards[1])
	}
}

func TestEachDefectOfABadClientIsFound(t *testing.T) {
	for v, want := range map[vice][]string{
		none:             nil,
		skipsReadings:    {"readings missing"},
		forgetsReadings:  {"readings missing"},
		ignoresTheTwin:   {"desired properties not acknowledged"},
		acknowledgesOne:  {"desired properties not acknowledged"},
		namesNoVersion:   {"desired properties not acknowledged"},
		answersOtherwise: {"desired properties not acknowledged"},
		hangsOnAHalfOpen: {"slowest recovery", "methods not answered"},
		// which names DPS's limit for polls
		storms:           {"attempts to connect in a minute", "broken rules of the wire"},
		answersNoMethod:  {"methods not answered"},
		completesNothing: {"commands not completed"},
		sendsTwice:       {"readings delivered twice"},
		sendsBackwards:   {"readings out of order"},
		diesWithItsHub: {
			"slowest recovery", "readings missing", "desired properties not acknowledged", "methods not answered",
			"commands not completed", "died",
		},
		breaksTheRules: { // the hub ends each connection
			"slowest recovery", "readings missing", "desired properties not acknowledged", "methods not answered",
			"commands not completed",
			"attempts to connect in a minute", "broken rules of the wire",
		},
	} {
		t.Run(string(v), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := graded(t, func(n *memnet.Network) drill.Client { return &simple{vice: v, dial: n.DialContext} },
					parse(t, badDay))
				var got []string
				for _, r := range c.Missed() {
					got = append(got, r.What)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q is named, want %q", got, want)
				}
			})
		})
	}
}

// If a client has not recovered when the device is moved again, its outage counts from the first
// move.
func TestRecoveryCountsFromTheFirstOfTwoMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := graded(t, func(n *memnet.Network) drill.Client {
			return &simple{vice: diesWithItsHub,
				dial: n.DialContext}
		},
			parse(t, "at 20s move B\nat 40s move A\nexpect recovery 10s\nend 1m"))
		if r := c.Rows[0]; r.What != "slowest recovery" || r.Measured < 45 ||
			!strings.Contains(r.Note, "after move B; it never recovered") {
			t.Errorf("%+v", r)
		}
	})
}

func TestPageIsOneFileAndEscapesNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := drill.Report{Client: "<script>alert(1)</script>", Cards: []*drill.Card{graded(t, ours, parse(t, badDay))}}
		var page strings.Builder
		if err := r.WritePage(&page); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"&lt;script&gt;", ">A</text>", ">B</text>", ">DPS</text>", "kill A fin for 1m10s",
			"slowest recovery"} {
			if !strings.Contains(page.String(), want) {
				t.Errorf("there is no %s", want)
			}
		}
		for _, foreign := range []string{"<script", "src=", "href=", "@import", "url("} {
			if strings.Contains(page.String(), foreign) {
				t.Errorf("there is a %s", foreign)
			}
		}
	})
}
