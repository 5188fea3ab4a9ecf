package machine_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

var update = flag.Bool("update", false,
	"write docs/faults.md anew; read what has changed, for it is what the device does")

const faultsDocument = "../docs/faults.md"

// Every fault of the emulator, wherever it may strike and in each of the six states, for two minutes: path,
// outcome, time and attempts are those of docs/faults.md. Whatever stands there, the device is Connected in
// the end, every reading, property and message has arrived, and nobody was stormed; and a day that is like a
// good one says why.
func TestOnEachBadDayTheDeviceDoesWhatItsDocumentSaysAndLosesNothing(t *testing.T) {
	slow.Test(t)
	text, err := os.ReadFile(faultsDocument)
	if err != nil && !*update {
		t.Fatal(err)
	}
	good := &diary{}
	good.goThrough(t, nil)
	var bad []*diary
	t.Run("day", func(t *testing.T) {
		for _, fault := range emulator.Faults() {
			d := &diary{FaultInfo: fault}
			bad = append(bad, d)
			t.Run(string(fault.Name), func(t *testing.T) {
				t.Parallel()
				d.goThrough(t, nil)
				d.wantReasons(t, good)
				for _, on := range d.Targets {
					if table := d.table(on); !*update && !strings.Contains(string(text), table) {
						t.Errorf("%s has no such days on which %s is struck:\n%s", faultsDocument, on, table)
					}
				}
			})
		}
	})
	if slices.ContainsFunc(bad, func(d *diary) bool { return len(d.days) < len(states)*len(d.Targets) }) {
		return // -run has chosen some
	}
	whole := document(t, good, bad)
	switch {
	case t.Failed(): // and what is wrong is not written down
	case *update:
		if err := os.WriteFile(faultsDocument, []byte(whole), 0o644); err != nil {
			t.Fatal(err)
		}
	case whole != string(text):
		t.Errorf("%s is stale: go test ./machine -run EachBadDay -update, and read what has changed", faultsDocument)
	}
}

// With luck as it comes the paths differ, and what has to hold holds all the same.
func TestWithAnyRandomNumbersTheDeviceLosesNothingOnABadDay(t *testing.T) {
	if !*soak {
		t.Skip("-soak")
	}
	for seed := range uint64(20) {
		for _, fault := range emulator.Faults() {
			t.Run(fmt.Sprint(fault.Name, " with luck ", seed), func(t *testing.T) {
				t.Parallel()
				(&diary{FaultInfo: fault}).goThrough(t, rand.New(rand.NewPCG(seed, 2)))
			})
		}
	}
}

// The document knows every fault there is, once, and no other.
func TestEveryFaultHasItsChapter(t *testing.T) {
	told := map[string]int{}
	for _, c := range chapters {
		for _, name := range c.faults {
			for _, on := range c.on {
				told[fmt.Sprint(name, " on ", on)]++
			}
		}
	}
	known := map[emulator.Fault]bool{}
	for _, f := range emulator.Faults() {
		known[f.Name] = true
		for _, on := range f.Targets {
			day := fmt.Sprint(f.Name, " on ", on)
			if told[day] != 1 {
				t.Errorf("%s is in %d chapters", day, told[day])
			}
			delete(told, day)
		}
	}
	for day := range told {
		t.Errorf("there is no %s", day)
	}
	for name := range parameters {
		if !known[name] {
			t.Errorf("there is no fault %q to have parameters", name)
		}
	}
	for _, r := range reasons {
		for _, name := range r.faults {
			if !known[name] {
				t.Errorf("there is no fault %q that might not show", name)
			}
		}
	}
}

// A diary is all that may happen with one fault; without a name it is good days.
type diary struct {
	emulator.FaultInfo
	days    []badDay
	stories []story
}

// goThrough lives through each day, one after another. Without luck of their own, all waits are halfway.
func (d *diary) goThrough(t *testing.T, luck *rand.Rand) {
	bounds := withHalfLuck
	if luck != nil {
		bounds = withAnyLuck
	}
	on := d.Targets
	if d.Name == "" {
		on = []string{""}
	}
	for _, target := range on {
		for _, state := range states {
			t.Run(strings.TrimSpace(fmt.Sprint(target, " in ", state)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					day := badDay{d.FaultInfo, target, state}
					w := newWitness(t, day, luck)
					w.live()
					s := w.story(bounds)
					d.days, d.stories = append(d.days, day), append(d.stories, s)
				})
			})
		}
	}
}

// wantReasons wants a reason in words for each day that was like a good one, and for no other.
func (d *diary) wantReasons(t *testing.T, good *diary) {
	t.Helper()
	for i, day := range d.days {
		g := slices.IndexFunc(good.days, func(g badDay) bool { return g.in == day.in })
		if g < 0 {
			return // -run has left it out
		}
		like := d.stories[i] == good.stories[g]
		if reason := day.reason(); like != (reason != "") {
			t.Errorf("%s on %s in %s is as on a good day: %t, because of %q; it was %+v", d.Name, day.on, day.in,
				like, reason,
				d.stories[i])
		}
	}
}
