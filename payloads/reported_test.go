package payloads

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// nested gives objects inside each other: nested(2) is {"k":{"k":1}}.
func nested(levels int) map[string]any {
	m := map[string]any{"k": 1}
	for range levels - 1 {
		m = map[string]any{"k": m}
	}
	return m
}

func TestPatchWithinTheLimitsOfATwinPasses(t *testing.T) {
	for name, patch := range map[string]map[string]any{
		"nothing": nil,
		"values of every kind": {"a": 1, "b": 1.5, "c": "x", "d": true, "e": nil, "f": []any{1, "x", nil},
			"g": map[string]any{}},
		"a component":         {"thermostat1": map[string]any{"__t": "c", "temperature": 21.3}},
		"a Go value":          {"a": struct{ B []int }{[]int{1}}},
		"raw JSON":            {"a": json.RawMessage(`{"b":[1,2]}`)},
		"ten levels":          nested(11),
		"64 levels of arrays": {"a": json.RawMessage(strings.Repeat("[", 64) + strings.Repeat("]", 64))},
		"54 levels of arrays around ten objects": {
			"a": json.RawMessage(strings.Repeat("[", 54) + strings.Repeat(`{"a":`, 10) + "1" + strings.Repeat("}", 10) +
				strings.Repeat("]", 54))},
		"a key of 1 KB":       {strings.Repeat("k", 1024): 1},
		"a string of 4 KB":    {"a": strings.Repeat("x", 4096)},
		"the largest integer": {"a": int64(4503599627370495), "b": int64(-4503599627370496)},
		"a large float":       {"a": 1e300, "b": json.Number("9007199254740993.5")},
		"control characters do not count": {"a": strings.Repeat("\n", 4096), "b": strings.Repeat("\n", 4096),
			"c": filledStrings(31), "d": strings.Repeat("\u0085", 2000)},
	} {
		if err := CheckReported(patch); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// filledStrings gives an array that counts for that many KB.
func filledStrings(kilobytes int) []string {
	list := make([]string, kilobytes)
	for i := range list {
		list[i] = strings.Repeat("x", 1024)
	}
	return list
}

func TestErrorAboutAPatchNamesTheKey(t *testing.T) {
	for name, c := range map[string]struct {
		patch map[string]any
		says  string
	}{
		"eleven levels": {nested(12), `"k.k.k.k.k.k.k.k.k.k.k": nested deeper than 10 levels`},
		"65 levels of arrays": {map[string]any{"a": json.RawMessage(strings.Repeat("[", 65) +
			strings.Repeat("]", 65))}, "nested deeper than 64 levels"},
		"64 levels of arrays around an object": {map[string]any{"a": json.RawMessage(strings.Repeat("[", 64) + "{}" +
			strings.Repeat("]", 64))}, "nested deeper than 64 levels"},
		"eleven levels within an array": {map[string]any{"a": json.RawMessage("[" + strings.Repeat(`{"a":`, 11) +
			"1" + strings.Repeat("}", 11) + "]")}, "nested deeper than 10 levels"},
		"a dot in a key": {map[string]any{"c": map[string]any{"a.b": 1}},
			`"c.a.b": the key holds a dot`},
		"a dollar in a key":        {map[string]any{"$version": 1}, `"$version": the key`},
		"a space in a key":         {map[string]any{"a b": 1}, `"a b": the key`},
		"a C0 character in a key":  {map[string]any{"a\n": 1}, `the key holds`},
		"a C1 character in a key":  {map[string]any{"a\u0085": 1}, `the key holds`},
		"an empty key":             {map[string]any{"a": map[string]any{"": 1}}, `"a.": the key is empty`},
		"a bad key even with null": {map[string]any{"a b": nil}, `"a b": the key`},
		"a key above 1 KB":         {map[string]any{strings.Repeat("k", 1025): 1}, "1025 bytes"},
		"a string above 4 KB": {map[string]any{"a": map[string]any{"b": strings.Repeat("x", 4097)}},
			`"a.b": a string of 4097 bytes`},
		"4 KB are bytes": {map[string]any{"a": strings.Repeat("é", 2049)},
			`"a": a string of 4098 bytes`},
		"in an array": {map[string]any{"a": []any{0, map[string]any{"b c": 1}}}, `"a[1].b c"`},
		"an integer too large": {map[string]any{"a": int64(4503599627370496)},
			`"a": the integer 4503599627370496`},
		"an integer too small": {map[string]any{"a": int64(-4503599627370497)},
			`"a": the integer -4503599627370497`},
		"an integer of any size": {map[string]any{"a": json.Number("1" + strings.Repeat("0", 50))},
			`"a": the integer`},
		"a float that is written as an integer": {map[string]any{"a": 1e20}, `"a": the integer 100000000000000000000`},
		"a number beyond all numbers":           {map[string]any{"a": json.Number("1e999")}, `"a": the number 1e999`},
		"more than a message": {map[string]any{"a": slices.Repeat([]string{strings.Repeat("\n", 4096)},
			33)}, "a message of 2704"},
		"no JSON":                 {map[string]any{"a": json.RawMessage(`{`)}, `"a": `},
		"not a number":            {map[string]any{"a": math.NaN()}, `"a": `},
		"a Go value without JSON": {map[string]any{"a": make(chan int)}, `"a": `},
	} {
		t.Run(name, func(t *testing.T) {
			if err := CheckReported(c.patch); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want it to say %s", err, c.says)
			}
		})
	}
}

func TestPatchFitsIntoAMessageToTheByte(t *testing.T) {
	const empty = len(`{"a":[""]}`)
	for size, fits := range map[int]bool{262144: true, 262146: false} {
		lines := slices.Repeat([]string{strings.Repeat("\n", 4095)}, 31) // each has 8190 bytes, 2 quotes and a comma
		rest := size - empty - 31*8193                                   // control characters do not count for the twin
		lines = append(lines, strings.Repeat("\n", rest/2)+strings.Repeat("x", rest%2))
		patch := map[string]any{"a": lines}
		if body, _ := json.Marshal(patch); len(body) != size {
			t.Fatalf("the patch has %d bytes, want %d", len(body), size)
		}
		if err := CheckReported(patch); (err == nil) != fits {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestPatchOf32KBFitsToTheByte(t *testing.T) {
	numbers := func(n int) map[string]any { // each counts 8 for the key and 8 for the number
		m := map[string]any{}
		for i := range n {
			m[fmt.Sprintf("key%05d", i)] = i
		}
		return m
	}
	if err := CheckReported(numbers(2048)); err != nil {
		t.Error(err)
	}
	over := numbers(2048)
	over["b"] = nil // deletes, and so counts for nothing
	if err := CheckReported(over); err != nil {
		t.Error(err)
	}
	over["c"] = ""
	if err := CheckReported(over); err == nil || !strings.Contains(err.Error(), "32769 bytes") {
		t.Errorf("got %v", err)
	}
	delete(over, "c")
	over["d"] = true
	if err := CheckReported(over); err == nil || !strings.Contains(err.Error(), "32773 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestStringsAreCountedByCharacters(t *testing.T) {
	patch := map[string]any{}
	for i := range 16 { // 16 keys of 4 characters, 16 strings of 2044 characters and 4088 bytes
		patch[fmt.Sprintf("k%03d", i)] = strings.Repeat("é", 2044)
	}
	if err := CheckReported(patch); err != nil {
		t.Error(err)
	}
	patch["x"] = ""
	if err := CheckReported(patch); err == nil {
		t.Error("32769 characters passed")
	}
}
