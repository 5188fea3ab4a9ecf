package drill_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/lab/scenario"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// evidence returns the evidence of a client that delivers a reading each second for a minute, with
// these message IDs. "" means no reading in that second.
func evidence(id func(second int) string) *drill.Evidence {
	e := &drill.Evidence{
		Start: noon, End: noon.Add(time.Minute), Stopped: noon.Add(time.Minute), Interval: time.Second,
	}
	for second := range 61 {
		if mid := id(second); mid != "" {
			e.Deliveries = append(e.Deliveries,
				emulator.Delivery{Hub: "A", MessageID: mid, Received: noon.Add(time.Duration(second) * time.Second)})
		}
	}
	return e
}

func rowOf(t *testing.T, c *drill.Card, what string) drill.Row {
	t.Helper()
	for _, r := range c.Rows {
		if r.What == what {
			return r
		}
	}
	t.Fatalf("there is no row %q", what)
	return drill.Row{}
}

// Numbers that overflow an int64 must not make the count of missing readings negative.
func TestHugeNumbersHideNoMissingReading(t *testing.T) {
	s := parse(t, "expect missing 0\nend 1m")
	for name, id := range map[string]func(int) string{
		"nanoseconds": func(n int) string {
			return fmt.Sprintf("r-%d",
				noon.Add(time.Duration(n)*time.Second).UnixNano())
		},
		"the largest":        func(n int) string { return fmt.Sprintf("r-%d", int64(1<<63-1)-int64(n)) },
		"two of the largest": func(n int) string { return fmt.Sprintf("%c-%d", 'a'+n%2, int64(1<<63-1)-int64(n)) },
	} {
		if r := rowOf(t, drill.Judge(s, evidence(id)), "readings missing"); !r.Missed() || r.Measured < 1e9 {
			t.Errorf("%s: %+v, %s", name, r, r.Verdict())
		}
	}
}

func TestUUIDIsNotANumber(t *testing.T) {
	s := parse(t, "expect missing 0\nexpect duplicates 0\nend 1m")
	for _, form := range []string{"123e4567-e89b-42d3-a456-4266554410%02d",
		"dev1_123E4567-E89B-42D3-A456-4266554410%02d", "123e4567e89b42d3a4564266554410%02d"} {
		c := drill.Judge(s, evidence(func(n int) string { return fmt.Sprintf(form, n) }))
		if missed := c.Missed(); len(missed) > 0 || c.Readings != 61 {
			t.Errorf("%s: %+v of %d readings", form, missed, c.Readings)
		}
	}
	c := drill.Judge(s, evidence(func(n int) string { return fmt.Sprintf("%08x-%032d", int64(0xabcdef01), n*2+1) }))
	if r := rowOf(t, c, "readings missing"); r.Measured != 60 { // a number with many zeros is one
		t.Errorf("%+v", r)
	}
	c = drill.Judge(s,
		evidence(func(n int) string { return fmt.Sprintf("123e4567-e89b-42d3-a456-4266554410%02d", n/2) }))
	if r := rowOf(t, c, "readings missing"); !r.Missed() { // what comes twice stands for no other
		t.Errorf("%+v", r)
	}
	if r := rowOf(t, c, "readings delivered twice"); r.Measured != 30 {
		t.Errorf("%+v", r)
	}
}

// A client that stops sending although its way is open is not excused by a later act.
func TestOutageBeforeAnActCounts(t *testing.T) {
	s := parse(t, "expect recovery 10s\nend 1m")
	for way, act := range map[scenario.Way]string{scenario.Opens: "move B", scenario.Shuts: "kill A fin"} {
		e := evidence(func(n int) string {
			if n > 10 && n < 42 {
				return ""
			}
			return fmt.Sprintf("r-%d", n)
		})
		e.Acts = []drill.Act{{At: noon.Add(40 * time.Second), Text: act, Way: way}}
		if way == scenario.Shuts {
			e.Acts = append(e.Acts, drill.Act{At: noon.Add(41 * time.Second), Text: "heal A fin", Way: scenario.Opens})
		}
		if r := drill.Judge(s, e).Rows[0]; r.Measured != 30 || r.Note != "after nothing that was done to it" {
			t.Errorf("%s: %+v", act, r)
		}
	}
}

// A twin merges objects, so the newest value is the result of several patches.
func TestDesiredObjectsAreMergedAsInATwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := parse(t, `at 5s desired {"x":{"a":1,"b":2},"gone":{"c":1},"empty":{}}
at 10s desired {"x":{"b":null,"c":{"d":3}},"gone":null}
expect desired-unacknowledged 0
end 20s`)
		if r := rowOf(t, graded(t, ours, s), "desired properties not acknowledged"); r.Missed() {
			t.Errorf("%+v", r)
		}
	})
}

func TestReadingsWithoutANumberAreNoted(t *testing.T) {
	e := evidence(func(n int) string { return fmt.Sprintf("r-%d", n) })
	e.Numbers.Field = "cuont"
	if r := rowOf(t, drill.Judge(parse(t, "end 1m"), e), "readings missing"); !strings.HasPrefix(r.Note,
		"61 readings have no number") {
		t.Errorf("%+v", r)
	}
}

// The trial waits a minute for the first reading. A client that is later must have taken the
// readings before it.
func TestClientThatSendsAlmostNothingMissesTheRest(t *testing.T) {
	s := parse(t, "expect missing 0\nend 1m")
	for name, last := range map[string]string{"nothing": "", "one": "r-1"} {
		e := evidence(func(n int) string {
			if n < 60 {
				return ""
			}
			return last
		})
		if r := rowOf(t, drill.Judge(s, e), "readings missing"); r.Measured < 50 || !r.Missed() {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A hub stores a Will when the client has disappeared, so it is not a reading.
func TestWillIsNotAReading(t *testing.T) {
	e := evidence(func(n int) string {
		if n > 30 {
			return ""
		}
		return fmt.Sprintf("r-%d", n)
	})
	for second := 31; second < 61; second++ {
		e.Deliveries = append(e.Deliveries, emulator.Delivery{
			Hub: "A", Received: noon.Add(time.Duration(second) * time.Second),
			Properties: map[string]string{"iothub-MessageType": "Will"},
		})
	}
	c := drill.Judge(parse(t, "expect recovery 10s\nexpect missing 0\nend 1m"), e)
	if missed := c.Missed(); len(missed) != 2 || c.Readings != 31 {
		t.Errorf("%+v of %d readings", missed, c.Readings)
	}
}

// No client can acknowledge what the cloud has refused: the scenario is wrong.
func TestDesiredPropertyThatTheCloudRefusesEndsTheDrill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		d := drill.Drill{
			Client: &simple{dial: network.DialContext}, DeviceID: "dev1", Interval: time.Second,
			Cloud: emulator.Config{Listen: network.Listen},
			Scenarios: []scenario.Scenario{parse(t,
				"at 1s desired {\"fan.speed\":3}\nexpect desired-unacknowledged 0\nend 5s")},
		}
		if r, err := d.Run(t.Context()); err == nil ||
			!strings.Contains(err.Error(), `desired {"fan.speed":3} at 1s`) || len(r.Cards) > 0 {
			t.Errorf("%v, %d cards", err, len(r.Cards))
		}
	})
}

func TestRecoverySaysWhereItsTimeWent(t *testing.T) {
	s := parse(t, "expect recovery 10s\nend 1m")
	e := evidence(func(n int) string {
		if n > 10 && n < 17 {
			return ""
		}
		return fmt.Sprintf("r-%d", n)
	})
	at := func(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }
	e.Acts = []drill.Act{{At: at(10.5), Text: "move B", Way: scenario.Opens}}
	e.Events = []emulator.Event{
		{Time: at(1), Kind: emulator.KindConnected, Hub: "A"},
		{Time: at(10.75), Kind: emulator.KindRefused, Hub: "A"},
		{Time: at(11), Kind: emulator.KindConnected, Hub: "DPS"}, {Time: at(11), Kind: emulator.KindRegister},
		{Time: at(14), Kind: emulator.KindDisconnected, Hub: "DPS"},
		{Time: at(16), Kind: emulator.KindConnected, Hub: "B"},
	}
	c := drill.Judge(s, e)
	if len(c.Outages) != 1 {
		t.Fatalf("%+v", c.Outages)
	}
	const want = "first attempt after 0.25 s, DPS 3 s, other 3.25 s"
	if got := c.Outages[0].Parts; got.String() != want || got.Attempts != 3 {
		t.Errorf("%s with %d attempts, want %s", got, got.Attempts, want)
	}
}

// A client that stays at its old hub, or away, until the scenario moves it back was never at the other hub.
func TestHubThatAClientNeverReachedIsNamed(t *testing.T) {
	s := parse(t, "expect recovery 10s\nend 1m")
	e := evidence(func(n int) string {
		if n > 10 && n < 36 {
			return ""
		}
		return fmt.Sprintf("r-%d", n)
	})
	e.Acts = []drill.Act{
		{At: noon.Add(10500 * time.Millisecond), Text: "move B", Way: scenario.Opens},
		{At: noon.Add(35500 * time.Millisecond), Text: "move A", Way: scenario.Opens},
	}
	c := drill.Judge(s, e)
	if note := c.Rows[0].Note; !strings.Contains(note, "never at B, it was moved to A after 25 s") {
		t.Errorf("%+v", c.Rows[0])
	}
}
