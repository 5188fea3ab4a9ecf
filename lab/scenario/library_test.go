package scenario_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/scenario"
	"giantlizard.example/failover/lab/slow"
)

var (
	lucks = flag.Int("lucks", 3, "how often our device goes through each scenario, each time with other luck")
	wall  = flag.Bool("wall", false, "let each scenario of the library happen by the wall clock too, over sockets; "+
		"it takes ten minutes")
)

func TestDeviceMeetsTheExpectationsOfEachScenario(t *testing.T) {
	slow.Test(t)
	for _, s := range scenario.Library() {
		t.Run(s.Name, func(t *testing.T) {
			var most worst
			for luck := range *lucks {
				if luck > 0 {
					s = s.WithSeed(uint64(luck)) // of a random one, another day
				}
				most.add(try(t, s, uint64(luck)))
			}
			t.Logf("| `%s` |%s", s.Name, most)
		})
	}
}

func TestDeviceMeetsTheExpectationsByTheWallClock(t *testing.T) {
	if !*wall {
		t.Skip("-wall")
	}
	for _, s := range scenario.Library() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			var dialer net.Dialer
			v := newTrial(t, nil, dialer.DialContext, 1).run(s)
			if v.wantKept(t, s); t.Failed() {
				t.Log("\n" + v.story)
			}
			t.Logf("a recovery took %v at most; %v", v.recovery, v.counts)
		})
	}
}

// The story consists of the steps of the scenario, the events of the cloud and the records of the
// device.
func TestSameSeedGivesTheSameRun(t *testing.T) {
	slow.Test(t)
	for _, s := range scenario.Library() {
		t.Run(s.Name, func(t *testing.T) {
			once, again := withoutTwinReads(try(t, s, 3).story), withoutTwinReads(try(t, s, 3).story)
			if slices.Equal(once, again) {
				return
			}
			lines := again
			for i, line := range once {
				if i >= len(lines) || line != lines[i] {
					t.Fatalf("once\n%s\nagain\n%s", line,
						strings.Join(lines[min(i, len(lines)):min(i+3, len(lines))], "\n"))
				}
			}
		})
	}
}

// withoutTwinReads returns the lines of a story without those about reads of the twin. A device asks for the twin
// and sends its first reading at the same time, so that chance decides which packet leaves first. If the hub ends
// the session at the reading, it may not see the other packet.
func withoutTwinReads(story string) []string {
	return slices.DeleteFunc(strings.Split(story, "\n"), func(line string) bool {
		return strings.HasSuffix(strings.TrimSpace(line), "twin read")
	})
}

func TestEachScenarioOfTheLibraryIsCompleteAndShort(t *testing.T) {
	for _, s := range scenario.Library() {
		limit := 4.0
		if s.Name == "bad-day" || strings.HasSuffix(s.Name, "-away") {
			limit = 13
		}
		if s.End.Minutes() > limit {
			t.Errorf("%s takes %s", s.Name, s.End)
		}
		if s.Sentence == "" || len(s.Sentence) > 250 || !strings.HasSuffix(s.Sentence, ".") {
			t.Errorf("%s: its sentence is %q", s.Name, s.Sentence)
		}
		if len(s.Expectations) != len(scenario.Measures()) {
			t.Errorf("%s expects only %v", s.Name, s.Expectations)
		}
		if found, err := scenario.Find(s.Name); err != nil || found.String() != s.String() {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	if _, err := scenario.Find("nothing"); err == nil ||
		!strings.Contains(err.Error(), `no scenario is named "nothing"; the library has bad-day, both-hubs-down,`) {
		t.Error(err)
	}
}

func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

func TestDocumentListsTheLibrary(t *testing.T) {
	var table strings.Builder
	for _, s := range scenario.Library() {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", s.Name, s.Sentence, s.End)
	}
	_, documented, _ := strings.Cut(document(t), "| Name | What happens | Takes |\n|---|---|---|\n")
	documented, _, _ = strings.Cut(documented, "\n\n")
	if documented+"\n" != table.String() {
		t.Errorf("the table of scenarios in docs/scenarios.md should be\n%s", table.String())
	}
}

func TestDocumentListsEachMeasure(t *testing.T) {
	for _, m := range scenario.Measures() {
		if !strings.Contains(document(t), "| `"+string(m)+"` |") {
			t.Errorf("docs/scenarios.md does not explain %s", m)
		}
	}
}

// Each example in the document is a block that begins with a comment.
func TestExamplesOfTheDocumentRun(t *testing.T) {
	examples := regexp.MustCompile("(?s)\n```\n(# .*?)```\n").FindAllStringSubmatch(document(t), -1)
	if len(examples) == 0 {
		t.Fatal("there is none")
	}
	for _, example := range examples {
		s, err := scenario.Parse("docs/scenarios.md", example[1])
		if err != nil {
			t.Fatal(err)
		}
		try(t, s, 1)
	}
}

// Some files have no end, and to read one would fill the memory.
func TestOnlyTheBeginningOfATooLongFileIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "long.txt")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 64<<20); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := scenario.Load(file)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "larger than 262144 bytes") {
		t.Error(err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Errorf("it took %d bytes", took)
	}
}
