package hub

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestReportsAreMergedAsTheTwinMergesThem(t *testing.T) {
	for _, c := range []struct{ name, older, newer, want string }{
		{"the newest value wins", `{"a":1,"b":1}`, `{"a":2}`, `{"a":2,"b":1}`},
		{"null removes and is kept, to be sent", `{"a":1}`, `{"a":null}`, `{"a":null}`},
		{"objects are merged", `{"c":{"__t":"c","x":1}}`, `{"c":{"__t":"c","y":2}}`, `{"c":{"__t":"c","x":1,"y":2}}`},
		{"an object replaces a value", `{"a":1}`, `{"a":{"x":1}}`, `{"a":{"x":1}}`},
		{"a list is a value", `{"a":[1,2]}`, `{"a":[3]}`, `{"a":[3]}`},
		{"digits are kept", `{}`, `{"n":4503599627370495}`, `{"n":4503599627370495}`},
	} {
		r := newReports()
		for _, text := range []string{c.older, c.newer} {
			var patch map[string]any
			d := json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			if err := d.Decode(&patch); err != nil {
				t.Fatal(err)
			}
			if err := r.add(patch); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := json.Marshal(r.take()); string(got) != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestAPatchThatWasNotConfirmedGoesUnderWhatHasComeSince(t *testing.T) {
	r := newReports()
	r.add(map[string]any{"a": 1, "b": 1})
	sent := r.take()
	r.add(map[string]any{"a": 2})
	r.giveBack(sent)
	if got, _ := json.Marshal(r.take()); string(got) != `{"a":2,"b":1}` {
		t.Errorf("%s", got)
	}
}

func TestWhatIsReportedDoesNotChangeWithTheCallersMap(t *testing.T) {
	r := newReports()
	inner := map[string]any{"x": 1}
	r.add(map[string]any{"a": inner})
	inner["x"] = 2
	if got, _ := json.Marshal(r.take()); string(got) != `{"a":{"x":1}}` {
		t.Errorf("%s", got)
	}
}

func TestManySmallReportsThatDoNotFitTogetherAreRefused(t *testing.T) {
	r := newReports()
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = r.add(map[string]any{strings.Repeat("k", i+1): strings.Repeat("v", 4000)})
	}
	if err == nil {
		t.Error("400 kB of reported properties were accepted")
	}
	if len(r.take()) == 0 {
		t.Error("what was accepted before has gone")
	}
}
