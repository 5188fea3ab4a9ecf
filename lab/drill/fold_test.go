package drill_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// sized returns the page and the JSON of a card.
func sized(t *testing.T, c *drill.Card) (page, text string) {
	t.Helper()
	var out strings.Builder
	r := drill.Report{Cards: []*drill.Card{c}}
	encoded, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.WritePage(&out); err != nil {
		t.Fatal(err)
	}
	return out.String(), string(encoded)
}

func TestRepetitionsOfATimelineAreFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := drilled(t, hammersItsHub, politeDay)
		c := r.Cards[0]
		var refused []drill.Moment
		for _, m := range c.Timeline {
			if m.What == "refused" {
				refused = append(refused, m)
			}
		}
		if len(refused) != 1 || refused[0].Count < 300 || refused[0].Count != c.Refusals[0].Count ||
			refused[0].Where != "A" || refused[0].Why != "CONNACK 5: the device belongs to hub B" ||
			refused[0].At < 10 || refused[0].At > 11 || refused[0].Until < 69 || refused[0].Until > 70 {
			t.Errorf("%+v, %+v", refused, c.Refusals)
		}
		title := fmt.Sprintf("<title>%g s to %g s: refused, %d times: CONNACK 5: the device belongs to hub B</title>",
			refused[0].At, refused[0].Until, refused[0].Count)
		if page, _ := sized(t, c); !strings.Contains(page, title) {
			t.Errorf("there is no %s in\n%s", title, page)
		}
	})
}

// stormy returns the evidence of a client that makes events all the time for a minute, in which each reason has another
// number, and thousands of other things happen.
func stormy() *drill.Evidence {
	e := evidence(func(n int) string { return fmt.Sprintf("r-%d", n) })
	for n := range 2000 {
		at := noon.Add(time.Duration(n) * 30 * time.Millisecond)
		port := 30000 + n
		rule := fmt.Sprintf("dev1 at DPS published to \"r-%d\", which is not a topic of DPS", n)
		e.Breaches = append(e.Breaches, rule)
		e.Events = append(e.Events,
			emulator.Event{Time: at, Kind: emulator.KindConnected, Hub: "DPS"},
			emulator.Event{Time: at, Kind: emulator.KindViolation, Hub: "DPS", Text: rule},
			emulator.Event{Time: at, Kind: emulator.KindDisconnected, Hub: "DPS"},
			emulator.Event{Time: at, Kind: emulator.KindRefused, Hub: "A",
				Text: fmt.Sprintf("CONNACK 5: the token expired %ds ago", n)},
			emulator.Event{Time: at, Kind: emulator.KindRefused, Hub: "B", Text: fmt.Sprintf(
				"read tcp 127.0.0.1:8883->127.0.0.1:%d: read: connection reset by peer", port)},
			emulator.Event{Time: at, Kind: emulator.KindRefused, Hub: "B", Text: "EOF"})
		e.Attempts = append(e.Attempts, at, at, at)
		e.Acts = append(e.Acts, drill.Act{At: at, Text: `method echo "hello"`})
	}
	return e
}

func TestCardOfAStormIsSmallAndCountsEverything(t *testing.T) {
	c := drill.Judge(parse(t, "expect attempts-a-minute 15\nend 1m"), stormy())
	want := []string{
		"2000 logins refused at hub A with CONNACK 5: the token expired 0s ago",
		"2000 connections refused at hub B: read: connection reset by peer",
		"2000 connections refused at hub B: the client closed the connection before it logged in",
	}
	var got []string
	for _, r := range c.Refusals {
		got = append(got, r.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	rule := `dev1 at DPS published to "r-0", which is not a topic of DPS (and 1999 more like it)`
	if row := rowOf(t, c, "broken rules of the wire"); !slices.Equal(c.Breaches, []string{rule}) ||
		row.Measured != 2000 || row.Note != rule {
		t.Errorf("%q, %+v", c.Breaches, row)
	}
	if page, text := sized(t, c); len(page) > 20_000 || len(text) > 20_000 || len(c.Timeline) > 100 {
		t.Errorf("the page has %d bytes, the JSON %d, and the timeline %d moments", len(page), len(text),
			len(c.Timeline))
	}
}

func TestManyDifferentReasonsAreBounded(t *testing.T) {
	e := evidence(func(n int) string { return fmt.Sprintf("r-%d", n) })
	for n := range 100 {
		why := strings.Repeat("x", n) + " is wrong"
		e.Breaches = append(e.Breaches, why)
		e.Events = append(e.Events, emulator.Event{Time: noon, Kind: emulator.KindRefused, Hub: "A", Text: why})
	}
	c := drill.Judge(parse(t, "end 1m"), e)
	if n := len(c.Refusals); n != 13 || c.Refusals[12].String() != "88 connections refused for other reasons" {
		t.Errorf("%v", c.Refusals)
	}
	if n := len(c.Breaches); n != 13 || c.Breaches[12] != "and 88 others" {
		t.Errorf("%q", c.Breaches)
	}
}

// The first thing that a reader looks at is the moment of an event, so few events keep theirs.
func TestFewRepetitionsStay(t *testing.T) {
	e := evidence(func(n int) string { return fmt.Sprintf("r-%d", n) })
	for _, at := range []int{1, 2, 3, 20, 30, 40, 50} {
		e.Events = append(e.Events, emulator.Event{Time: noon.Add(time.Duration(at) * time.Second),
			Kind: emulator.KindConnected, Hub: "A"})
	}
	var moments []float64
	for _, m := range drill.Judge(parse(t, "end 1m"), e).Timeline {
		if m.What == "connected" && m.Count == 0 && m.Until == 0 {
			moments = append(moments, m.At)
		}
	}
	if !slices.Equal(moments, []float64{1, 2, 3, 20, 30, 40, 50}) {
		t.Errorf("%v", moments)
	}
}

func TestReadingsOfALongScenarioShareMoments(t *testing.T) {
	e := evidence(func(int) string { return "" })
	const hours = 3
	e.End = noon.Add(hours * time.Hour)
	e.Stopped = e.End
	for n := range hours * 3600 {
		e.Deliveries = append(e.Deliveries, emulator.Delivery{Hub: "AB"[n%2 : n%2+1], MessageID: fmt.Sprintf("r-%d", n),
			Received: noon.Add(time.Duration(n) * time.Second)})
	}
	e.Acts = []drill.Act{{At: noon.Add(time.Hour), Text: "move B", Way: scenario.Opens}}
	c := drill.Judge(parse(t, "end 3h"), e)
	sum := 0
	for _, m := range c.Timeline {
		sum += m.Count
	}
	if page, _ := sized(t, c); len(c.Timeline) > 1300 || sum != hours*3600 || len(page) > 300_000 {
		t.Errorf("%d moments have %d readings, and the page has %d bytes", len(c.Timeline), sum, len(page))
	}
}
