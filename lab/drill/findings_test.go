package drill_test

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
)

// politeDay moves a client to hub B and back.
const politeDay = `# An operator moves the device to hub B and back.
at 10s move B
at 12s method echo "away"
at 20s desired {"fanSpeed":1}
at 70s move A
at 80s method echo "home"
expect recovery 10s
expect missing 0
expect methods-unanswered 0
expect desired-unacknowledged 0
expect attempts-a-minute 15
end 90s`

// drilled returns the report of a client in scenarios by a fake clock, and how long that took.
func drilled(t *testing.T, v vice, scenarios ...string) (r *drill.Report, took time.Duration) {
	t.Helper()
	network := memnet.New()
	network.SetLatency(7 * time.Millisecond)
	d := drill.Drill{
		Client: &simple{vice: v, dial: network.DialContext}, Name: "test", DeviceID: "dev1", Interval: time.Second,
		Cloud: emulator.Config{Listen: network.Listen, RetryAfter: time.Second},
	}
	for _, text := range scenarios {
		d.Scenarios = append(d.Scenarios, parse(t, text))
	}
	begin := time.Now()
	r, err := d.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		_ = r.Print(os.Stdout)
	}
	return r, time.Since(begin)
}

// cardLines returns the lines of the first card of a report as it is printed.
func cardLines(t *testing.T, r *drill.Report) []string {
	t.Helper()
	var out strings.Builder
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	_, card, _ := strings.Cut(out.String(), "\n\n")
	return strings.Split(card, "\n")
}

func TestFirstLinesOfACardNameWhatIsWrong(t *testing.T) {
	for v, want := range map[vice]string{
		diesAtOnce: "The client ended by itself: it has no configuration.",
		hasAnotherKey: "The client never connected to a hub: DPS refused [0-9]{2} logins with CONNACK 5: " +
			"the token is signed with another key",
		staysAtItsHub: "The client never came to hub B, where the cloud expected it from 10 s to 70 s: " +
			"hub A refused [0-9]+ logins with CONNACK 5: the device belongs to hub B",
		storms: "The client tried to connect [0-9]{2} times within a minute, where 14 are allowed, " +
			"and needs a longer back-off: half of the attempts began 1.[0-9]+ s or less after the one before.",
		hammersItsHub: "The client tried to connect [0-9]{3} times within a minute, where 15 are allowed, " +
			"and needs a longer back-off: half of the attempts began 0.1[0-9]* s or less after the one before.",
	} {
		t.Run(string(v), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := drilled(t, v, map[bool]string{false: politeDay, true: badDay}[v == storms])
				first, sentence := strings.Join(cardLines(t, r)[:3], "\n"), regexp.MustCompile(want)
				if !sentence.MatchString(first) {
					t.Errorf("there is no %q in\n%s", want, first)
				}
				if findings := r.Cards[0].Findings; !sentence.MatchString(strings.Join(findings, "\n")) {
					t.Errorf("the findings are %q", findings)
				}
				var page strings.Builder
				if err := r.WritePage(&page); err != nil ||
					!regexp.MustCompile(`<p class="missed">`+want).MatchString(page.String()) {
					t.Errorf("%v: there is no %q on the page", err, want)
				}
			})
		})
	}
}

func TestClientThatPassesHasNoFindings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := drilled(t, none, politeDay)
		if c := r.Cards[0]; c.Failed() || len(c.Findings) > 0 || c.NotRun > 0 {
			t.Errorf("%+v, %q", c.Missed(), c.Findings)
		}
	})
}

// The card is nearly the one that the client would have if the drill had waited.
func TestDrillDoesNotWaitForAClientThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, took := drilled(t, diesAtOnce, politeDay, politeDay, politeDay)
		if len(r.Cards) != 3 || took < 3*time.Second || took > 4*time.Second {
			t.Fatalf("three scenarios of a client that lives for a second: %d cards in %s", len(r.Cards), took)
		}
		c := r.Cards[2]
		if c.NotRun != 90 || c.Seconds != 0 {
			t.Errorf("%g s were not run, %g s were", c.NotRun, c.Seconds)
		}
		for what, want := range map[string]float64{
			"slowest recovery": 95, "readings missing": 92, "desired properties not acknowledged": 1,
			"methods not answered": 2, "died": 1,
		} {
			if row := rowOf(t, c, what); row.Measured != want || !row.Missed() {
				t.Errorf("%+v, want %g", row, want)
			}
		}
	})
}

func TestScenarioEndsWhenTheClientEndsInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := strings.Replace(politeDay, "at 10s move B", "at 10s kill A\nat 11s move B", 1)
		r, took := drilled(t, diesWithItsHub, day)
		c := r.Cards[0]
		if took > 15*time.Second || c.Seconds < 10 || c.Seconds > 11 || c.NotRun+c.Seconds != 90 {
			t.Errorf("it took %s, %g s were run and %g s not", took, c.Seconds, c.NotRun)
		}
		for what, note := range map[string]string{
			"slowest recovery":     "after its end; it never recovered",
			"methods not answered": "2 of them after the client's end",
		} {
			if row := rowOf(t, c, what); row.Note != note || !row.Missed() {
				t.Errorf("%+v", row)
			}
		}
		ended := c.Timeline[slices.IndexFunc(c.Timeline, func(m drill.Moment) bool { return m.What == "ended" })]
		if ended.Who != "client" || ended.At != c.Seconds {
			t.Errorf("%+v", ended)
		}
	})
}
