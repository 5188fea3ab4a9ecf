package drill_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// reported returns the report of a client that was silent for ten seconds after a hub's death and
// then delivered one reading twice.
func reported(t *testing.T) *drill.Report {
	t.Helper()
	s := parse(t, "# One bad minute.\nexpect recovery 8s\nexpect missing 12\nexpect duplicates 1\nend 1m")
	e := evidence(func(n int) string {
		if n > 20 && n < 31 {
			return ""
		}
		return fmt.Sprintf("r-%d", n)
	})
	e.Deliveries = append(e.Deliveries, e.Deliveries[len(e.Deliveries)-1])
	e.Acts = []drill.Act{
		{At: noon.Add(20500 * time.Millisecond), Text: "kill A fin for 500ms", Way: scenario.Shuts},
		{At: noon.Add(21 * time.Second), Text: "heal A fin", Way: scenario.Opens},
	}
	for n := range 4 { // three within any minute
		e.Attempts = append(e.Attempts, noon.Add(time.Duration(n)*20*time.Second))
	}
	e.Events = []emulator.Event{
		{Time: noon.Add(-time.Second), Kind: emulator.KindConnected, Hub: "A"},
		{Time: noon.Add(30 * time.Second), Kind: emulator.KindConnected, Hub: "A"},
		{Time: noon.Add(31 * time.Second), Kind: emulator.KindTwin, Hub: "A"},
	}
	e.Process = drill.Usage{CPU: 3 * time.Second, Elapsed: 90 * time.Second, Memory: 48 << 20}
	return &drill.Report{Client: "a client", Interval: "1s", Machine: "a machine",
		Cards: []*drill.Card{drill.Judge(s, e)}}
}

func TestReportShowsTheMarginOfEachLimit(t *testing.T) {
	r := reported(t)
	r.Cards = append(r.Cards, drill.Judge(parse(t, "expect missing 2\nend 1m"),
		evidence(func(n int) string { return fmt.Sprintf("r-%d", n) })))
	var out strings.Builder
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	const want = `a client, a reading each 1s, on a machine

test: MISSED 1. One bad minute.
51 readings in 60 s.
  slowest recovery                     10 s    at most 8 s  MISSED by 2 s  after heal A fin
  readings missing                     10      at most 12   kept by 2
  readings delivered twice             1       at most 1    kept
  readings out of order                0
  desired properties not acknowledged  0
  methods not answered                 0
  commands not completed               0
  attempts to connect in a minute      3
  broken rules of the wire             0       at most 0    kept
  died                                 0       at most 0    kept
  CPU time in a minute                 2 s
  memory at most                       48 MiB
  recovery after heal A fin: 10 s (first attempt after 9 s, other 1 s)

test: passed.
61 readings in 60 s.
  slowest recovery                     0 s
  readings missing                     0    at most 2  kept by 2
  readings delivered twice             0
  readings out of order                0
  desired properties not acknowledged  0
  methods not answered                 0
  commands not completed               0
  attempts to connect in a minute      0
  broken rules of the wire             0    at most 0  kept
  died                                 0    at most 0  kept

1 of 2 scenarios passed.
`
	if got := out.String(); got != want {
		t.Errorf("it says\n%s", got)
	}
}

func TestPageDrawsTheTimeline(t *testing.T) {
	var out strings.Builder
	if err := reported(t).WritePage(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{ // a minute is 1,000 wide, a band 26 high
		`viewBox="-90 0 1100 102"`, `0 of 1 scenarios passed`,
		`<rect x="341.667" y="10" width="3" height="18" fill="#b00020"><title>20.5 s: kill A fin for 500ms</title>`,
		`<rect x="350" y="36" width="166.667" height="18" fill="#e8b04a"><title>` +
			`21 s to 31 s: no readings, after heal A fin</title>`,
		`<text x="-84" y="75">A</text>`,
		`<rect x="500" y="62" width="2" height="8" fill="#777"><title>30 s: connected</title>`,
		`<rect x="983.333" y="71" width="16.667" height="9" fill="#2c6fbb" opacity="0.4"><title>59 s: ` +
			`1 reading</title>`,
		`<rect x="1000" y="71" width="16.667" height="9" fill="#2c6fbb" opacity="0.55"><title>60 s: 2 readings</title>`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %s", want)
		}
	}
	// the acts, the outage, the connection, the seconds with readings
	if n := strings.Count(out.String(), "<rect"); n != 2+1+1+51 {
		t.Errorf("there are %d rectangles in\n%s", n, &out)
	}
}

// An interval is never exact, so one reading in fifty and one more may be missing.
func TestReadingsThatWereNotTakenAreCountedByTheInterval(t *testing.T) {
	for delivered, want := range map[int]int{58: 0, 57: 0, 56: 1, 30: 27} {
		e := evidence(func(n int) string {
			if n >= delivered {
				return ""
			}
			return fmt.Sprintf("r-%d", n+1)
		})
		row := rowOf(t, drill.Judge(parse(t, "expect missing 0\nend 1m"), e), "readings missing")
		if row.Measured != float64(want) || (row.Note != "") != (want > 0) {
			t.Errorf("of %d readings in 60 s: %+v", delivered, row)
		}
	}
}

func TestEachSeriesBeginsAtOneOrZero(t *testing.T) {
	for ids, want := range map[string][3]float64{ // missing, delivered twice, out of order
		"a-0 a-1 a-2":             {0, 0, 0},
		"a-1 a-2 a-3":             {0, 0, 0},
		"a-2 a-3":                 {1, 0, 0},
		"a-1 b-1 a-2 b-2":         {0, 0, 0},
		"a-1 b-1 a-4 b-3":         {3, 0, 0},
		"a-1 a-3 a-2 a-4":         {0, 0, 1},
		"a-1 a-2 a-1 a-2 a-3":     {0, 2, 0},
		"a-3 a-2 a-1 a-6 a-5 a-4": {0, 0, 4},
	} {
		e := evidence(func(int) string { return "" })
		e.Interval = 0 // nothing is expected by it
		for _, id := range strings.Fields(ids) {
			e.Deliveries = append(e.Deliveries, emulator.Delivery{MessageID: id, Received: noon.Add(time.Second)})
		}
		c := drill.Judge(parse(t, "end 1m"), e)
		got := [3]float64{
			rowOf(t, c, "readings missing").Measured, rowOf(t, c, "readings delivered twice").Measured, rowOf(t, c,
				"readings out of order").Measured,
		}
		if got != want {
			t.Errorf("%s: %v, want %v", ids, got, want)
		}
	}
}
