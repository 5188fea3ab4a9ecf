package hub

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/statefile"
)

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var o map[string]any
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	return o
}

// text is the patches in order, as JSON, with a bar between them.
func text(patches []map[string]any) string {
	var all []string
	for _, p := range patches {
		one, _ := json.Marshal(p)
		all = append(all, string(one))
	}
	return strings.Join(all, " | ")
}

func TestReportsAreMergedAsTheTwinMergesThem(t *testing.T) {
	for _, c := range []struct{ name, reported, want string }{
		{"the newest value wins", `{"a":1,"b":1} {"a":2}`, `{"a":2,"b":1}`},
		{"null removes and is kept, to be sent", `{"a":1} {"a":null}`, `{"a":null}`},
		{"objects are merged", `{"c":{"__t":"c","x":1}} {"c":{"__t":"c","y":2}}`, `{"c":{"__t":"c","x":1,"y":2}}`},
		{"a value replaces an object", `{"a":{"x":1}} {"a":1}`, `{"a":1}`},
		{"a list is a value", `{"a":[1,2]} {"a":[3]}`, `{"a":[3]}`},
		{"digits are kept", `{"n":4503599627370495}`, `{"n":4503599627370495}`},
		{"an object after a null", `{"a":null} {"a":{"x":1}}`, `{"a":null} | {"a":{"x":1}}`},
		{"an object in the place of a value", `{"a":1} {"a":{"x":1}}`, `{"a":null} | {"a":{"x":1}}`},
		{"an object in the place of a list", `{"a":[1]} {"a":{"x":1}}`, `{"a":null} | {"a":{"x":1}}`},
		{"an empty object after a null", `{"a":null} {"a":{}}`, `{"a":null} | {"a":{}}`},
		{
			"within an object", `{"a":{"b":null,"c":1}} {"a":{"b":{"x":1}}}`,
			`{"a":{"b":null}} | {"a":{"b":{"x":1},"c":1}}`,
		},
		{"within a component, with its mark", `{"c":{"__t":"c","b":null}} {"c":{"__t":"c","b":{"x":1}}}`,
			`{"c":{"__t":"c","b":null}} | {"c":{"__t":"c","b":{"x":1}}}`},
		{"a null within an object is kept", `{"a":null} {"a":{"x":null,"y":1}}`, `{"a":null} | {"a":{"x":null,"y":1}}`},
		{"an object after a null within what is gone", `{"a":null} {"a":{"x":null}} {"a":{"x":{"y":1}}}`,
			`{"a":null} | {"a":{"x":{"y":1}}}`},
		{"removed again", `{"a":null} {"a":{"x":1}} {"a":null}`, `{"a":null}`},
		{"replaced again", `{"a":{"b":null}} {"a":{"b":{"x":1}}} {"a":{"b":2}}`, `{"a":{"b":2}}`},
		{"there and back for ever", strings.Repeat(`{"a":null} {"a":{"x":1}} {"b":null} {"b":{"x":1}} `, 50),
			`{"a":null,"b":null} | {"a":{"x":1},"b":{"x":1}}`},
	} {
		r := newReported(statefile.File{})
		for _, patch := range strings.Fields(c.reported) {
			if err := r.report(object(t, patch)); err != nil {
				t.Fatal(err)
			}
		}
		if got := text(r.take().patches()); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// Whatever a twin holds, whenever reports are sent, in vain or not, and whenever the device is
// killed: it ends as if each had been sent by itself.
func TestMergedReportsLeaveATwinAsSingleOnesWould(t *testing.T) {
	slow.Test(t)
	dice := rand.New(rand.NewPCG(1, 2))
	var value func(depth int) any
	some := func(depth int) map[string]any {
		o := map[string]any{}
		for _, k := range []string{"a", "b", "c"} {
			if dice.IntN(2) == 0 {
				o[k] = value(depth)
			}
		}
		return o
	}
	value = func(depth int) any {
		switch n := dice.IntN(6); {
		case n == 0:
			return nil
		case n == 1:
			return []any{json.Number("1")}
		case n < 5 && depth > 0:
			return some(depth - 1)
		}
		return json.Number([]string{"1", "2", "3"}[dice.IntN(3)])
	}
	for range 2_000 {
		held := afterwards(map[string]any{}, some(2)) // without nulls
		r, single, merged := newReported(statefile.File{}), held, held
		var story []map[string]any
		var kept batch // in the file
		report := func() {
			patch := some(2)
			story, single = append(story, patch), afterwards(single, patch)
			if err := r.report(patch); err != nil {
				t.Fatal(err)
			}
			kept = r.unconfirmed()
		}
		send := func(arrives, known bool) {
			b := r.take()
			for _, p := range b.patches() {
				if arrives {
					merged = afterwards(merged, p)
				}
			}
			for range dice.IntN(3) { // meanwhile
				report()
			}
			switch {
			case dice.IntN(4) == 0: // it was killed. The file may say what has been confirmed, too
				r = newReported(statefile.File{})
				r.pending, _ = kept.stored().batch()
			case known:
				r.confirmed()
			default:
				r.giveBack()
			}
		}
		for range 6 {
			report()
			if dice.IntN(4) == 0 {
				arrives := dice.IntN(2) == 0
				send(arrives, arrives && dice.IntN(2) == 0)
			}
		}
		for r.pending.count() > 0 {
			send(true, true)
		}
		if !reflect.DeepEqual(single, merged) {
			t.Fatalf("a twin with %s, and then\n%s\nholds %s, and not %s", text([]map[string]any{held}), text(story),
				text([]map[string]any{merged}), text([]map[string]any{single}))
		}
	}
}

// afterwards is what a twin holds after a patch.
func afterwards(held, patch map[string]any) map[string]any {
	result := map[string]any{}
	for k, v := range held {
		result[k] = v
	}
	for k, v := range patch {
		inner, isObject := v.(map[string]any)
		before, _ := result[k].(map[string]any)
		switch {
		case v == nil:
			delete(result, k)
		case isObject:
			result[k] = afterwards(before, inner)
		default:
			result[k] = v
		}
	}
	return result
}
