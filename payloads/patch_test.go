package payloads

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestRefusedPatchIsSplitDownToOneProperty(t *testing.T) {
	why := errors.New("no room")
	ack := PropertyAck{Value: json.RawMessage("1"), Code: 200, Version: 3}
	patch := func(text string) (object map[string]any) {
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		return object
	}
	for name, c := range map[string]struct {
		patch       map[string]any
		want, first string
	}{
		"four":  {patch(`{"d":1,"b":2,"c":3,"a":4}`), `{"a":4,"b":2} | {"c":3,"d":1}`, "a"},
		"three": {patch(`{"a":1,"b":2,"c":3}`), `{"a":1} | {"b":2,"c":3}`, "a"},
		"a component": {
			patch(`{"c":{"__t":"c","a":1,"b":2}}`), `{"c":{"__t":"c","a":1}} | {"c":{"__t":"c","b":2}}`, "c.a",
		},
		"one":         {patch(`{"a":1}`), ``, "a"},
		"a removal":   {patch(`{"a":null}`), ``, "a"},
		"an empty":    {patch(`{"a":{}}`), ``, "a"},
		"no property": {patch(`{"__t":"c"}`), ``, ""},
		"an acknowledgement that the program reported": {patch(`{"a":{"value":1,"ac":200,"av":1}}`), ``, "a.ac"},
		"an acknowledgement": {map[string]any{"a": ack},
			`{"a":{"value":null,"ac":200,"av":3,"ad":"the value is left out: no room"}}`, "a"},
		"an acknowledgement in a component": {map[string]any{"c": map[string]any{"__t": "c", "a": ack}},
			`{"c":{"__t":"c","a":{"value":null,"ac":200,"av":3,"ad":"the value is left out: no room"}}}`, "c.a"},
		"an acknowledgement without a value": {map[string]any{"a": ack.WithoutValue(why)}, ``, "a"},
	} {
		var parts []string
		for _, p := range SplitPatch(c.patch, why) {
			part, _ := json.Marshal(p)
			parts = append(parts, string(part))
		}
		if got := strings.Join(parts, " | "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if got := FirstProperty(c.patch); got != c.first {
			t.Errorf("%s: the first property is %q, want %q", name, got, c.first)
		}
	}
}

func TestCode203AcknowledgesNoVersion(t *testing.T) {
	for code, want := range map[int]int64{200: 7, 203: 0, 404: 7} {
		if got := (PropertyAck{Code: code, Version: 3}).ForVersion(7); got.Version != want || got.Code != code {
			t.Errorf("code %d: %+v", code, got)
		}
	}
}
