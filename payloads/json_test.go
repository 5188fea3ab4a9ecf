package payloads

import (
	"encoding/json"
	"testing"
)

func TestJSONIsComparedByValue(t *testing.T) {
	first := map[string]string{}
	for _, same := range [][]string{
		{`1`, `1.0`, ` 1 `, `1e0`, `10e-1`, `0.1E+1`, `100e-2`},
		{`0`, `-0`, `0.00`, `0e7`},
		{`-1.5`, `-15e-1`},
		{`120`, `1.2e2`, `12E1`},
		{`4503599627370495`, `4503599627370495.0`},
		{`9007199254740993`},
		{`9007199254740992`},
		{`1e999999999`, `10e999999998`},
		{`1e99999999999999999999`},
		{`{"a":1,"b":[true,null]}`, `{ "b" : [ true , null ], "a" : 1.0 }`},
		{`{"a":1}`}, {`{"a":2,"a":1}`}, {`{"a":"\ufffd"}`}, {`{"a":"\ud800"}`}, {`{"a":"\udc00"}`},
		{`[1,2]`}, {`[2,1]`}, {`[]`}, {`{}`}, {`null`}, {`false`}, {`""`}, {`"1"`}, {`{"a":null}`},
		{`"é"`, `"\u00e9"`},
		{`{`},
	} {
		for _, a := range same {
			for _, b := range same {
				if !SameJSON(json.RawMessage(a), json.RawMessage(b)) {
					t.Errorf("%s is not %s", a, b)
				}
			}
			first[a] = same[0]
		}
	}
	for a, left := range first {
		for b, right := range first {
			if left != right && SameJSON(json.RawMessage(a), json.RawMessage(b)) {
				t.Errorf("%s is %s", a, b)
			}
		}
	}
}

func TestPatchIsMergedAsATwinMergesIt(t *testing.T) {
	for _, c := range []struct{ value, patch, want string }{
		{`{"low":1,"high":2}`, `{"low":3}`, `{"high":2,"low":3}`},
		{`{"low":1,"high":2}`, `{"low":null}`, `{"high":2}`},
		{`{"in":{"a":1,"b":2}}`, `{"in":{"a":null},"out":{"x":null,"y":1}}`, `{"in":{"b":2},"out":{"y":1}}`},
		{`{"a":1}`, `null`, `null`},
		{`{"a":1}`, `[1, null]`, `[1, null]`},
		{`3`, `{"a":1,"b":null}`, `{"a":1}`},
		{`null`, `{"a":1}`, `{"a":1}`},
		{``, `{"a":{"b":null}}`, `{"a":{}}`},
		{``, `1.50`, `1.50`},
		{`{"n":4503599627370495}`, `{"m":1.0}`, `{"m":1.0,"n":4503599627370495}`},
	} {
		if got, err := Merge(json.RawMessage(c.value), json.RawMessage(c.patch)); err != nil || string(got) != c.want {
			t.Errorf("%s and %s are %s, %v, want %s", c.value, c.patch, got, err, c.want)
		}
	}
}

func TestObjectsThatAMergeWouldChangeAreRefused(t *testing.T) {
	for _, c := range [][2]string{
		{`{"a":1,"a":2}`, `{"b":1}`}, {`{"a":1}`, `{"b":1,"b":2}`}, {`{"a":"\ud800"}`, `{"b":1}`},
		{`{"a":1}`, "{\"b\":\"\xff\"}"},
	} {
		if got, err := Merge(json.RawMessage(c[0]), json.RawMessage(c[1])); err == nil {
			t.Errorf("%s and %s became %s", c[0], c[1], got)
		}
	}
}
