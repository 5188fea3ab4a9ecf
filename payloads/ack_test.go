package payloads

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPropertyAckIsWrittenAsTheConventionSays(t *testing.T) {
	for want, ack := range map[string]PropertyAck{
		`{"value":3,"ac":200,"av":8,"ad":"completed"}`: {Value: json.RawMessage("3"), Code: 200, Version: 8,
			Description: "completed"},
		`{"value":3,"ac":203,"av":0,"ad":null}`:    {Value: json.RawMessage("3"), Code: 203},
		`{"value":null,"ac":200,"av":1,"ad":null}`: {Code: 200, Version: 1},
	} {
		if got, err := json.Marshal(ack); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestPropertyAcksOfAComponentAreInTheComponent(t *testing.T) {
	ok := func(value string) PropertyAck {
		return PropertyAck{Value: json.RawMessage(value), Code: 200, Version: 8}
	}
	for name, c := range map[string]struct {
		acks []AcknowledgedProperty
		want string
	}{
		"none": {nil, `{}`},
		"root and components": {
			[]AcknowledgedProperty{
				{property("", "fanSpeed", "3"), ok("3")},
				{property("c1", "a", "1"), ok("1")},
				{property("c1", "b", "2"), ok("2")},
			},
			`{"c1":{"__t":"c","a":{"value":1,"ac":200,"av":8,"ad":null},"b":{"value":2,"ac":200,"av":8,"ad":null}},` +
				`"fanSpeed":{"value":3,"ac":200,"av":8,"ad":null}}`,
		},
		"the later of two counts": {
			[]AcknowledgedProperty{{property("", "a", "1"), ok("1")}, {property("", "a", "2"), ok("2")}},
			`{"a":{"value":2,"ac":200,"av":8,"ad":null}}`,
		},
		"a component wins over a property of its name": {
			[]AcknowledgedProperty{{property("", "c1", "null"), ok("null")}, {property("c1", "a", "1"), ok("1")},
				{property("", "c1", "null"), ok("null")}},
			`{"c1":{"__t":"c","a":{"value":1,"ac":200,"av":8,"ad":null}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			patch := PropertyAckPatch(c.acks)
			if got, err := json.Marshal(patch); err != nil || string(got) != c.want {
				t.Fatalf("got  %s, %v\nwant %s", got, err, c.want)
			}
			if err := CheckReported(patch); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestFitMakesAPropertyAckAcceptable(t *testing.T) {
	deep := func(levels int) string { return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels) }
	for name, c := range map[string]struct {
		value, description string
		left               string // part of the error; "": the value is kept
		says               string // what the description ends with
	}{
		"as it is":                       {`{"a":1}`, "done", "", "done"},
		"nine levels":                    {deep(9), "", "", ""},
		"ten, and the answer around it":  {deep(10), "", "deeper than 10 levels", "deeper than 10 levels"},
		"ten, and the text is kept":      {deep(10), "done", "deeper than 10 levels", "deeper than 10 levels"},
		"a description of 100 KB":        {"1", strings.Repeat("x", 100_000), "", "xxx…"},
		"cut off between two characters": {"1", strings.Repeat("é", 50_000), "", "éé…"},
		"a description that is no UTF-8": {"1", "a\xffb", "", "a?b"},
		"a string above 4 KB":            {`"` + strings.Repeat("x", 4097) + `"`, "", "4097 bytes", "at most 4096 fit"},
		"above 32 KB": {`[` + strings.Repeat(`"`+strings.Repeat("x", 4000)+`",`, 9) + `1]`, "",
			"bytes as IoT Hub counts", "fit"},
		"a key with a dot":     {`{"a.b":1}`, "", "holds a dot", "character"},
		"an integer too large": {`9007199254740993`, "", "the integer", "4503599627370495"},
	} {
		t.Run(name, func(t *testing.T) {
			whole := AcknowledgedProperty{property("", "p", ""),
				PropertyAck{Value: json.RawMessage(c.value), Code: 200, Version: 8, Description: c.description}}
			got, err := whole.Fit()
			if c.left == "" && (err != nil || string(got.PropertyAck.Value) != c.value) || c.left != "" &&
				(err == nil || !strings.Contains(err.Error(), c.left) || got.PropertyAck.Value != nil) {
				t.Errorf("the value is %.80s, the error %v", got.PropertyAck.Value, err)
			}
			if !strings.HasSuffix(got.Description, c.says) ||
				!strings.HasPrefix(got.Description, c.description[:min(4, len(c.description))]) &&
					utf8.ValidString(c.description) {
				t.Errorf("it says %q", got.Description)
			}
			if got.Code != 200 || got.Version != 8 {
				t.Errorf("code %d, version %d", got.Code, got.Version)
			}
			if err := CheckReported(PropertyAckPatch([]AcknowledgedProperty{got})); err != nil {
				t.Errorf("it still does not fit: %v", err)
			}
		})
	}
	if got, err := (AcknowledgedProperty{property("", "a.b", ""),
		PropertyAck{Value: json.RawMessage("1"), Code: 200}}).Fit(); err == nil {
		t.Errorf("a name that no hub takes: %+v", got)
	}
}

func TestDescriptionHasAtMost512Bytes(t *testing.T) {
	for given, want := range map[string]string{
		strings.Repeat("x", 512):              strings.Repeat("x", 512),
		strings.Repeat("x", 513):              strings.Repeat("x", 509) + "…",
		strings.Repeat("é", 256):              strings.Repeat("é", 256),
		strings.Repeat("é", 257):              strings.Repeat("é", 254) + "…",
		strings.Repeat("x", 508) + "🦎" + "xx": strings.Repeat("x", 508) + "…",
	} {
		if got, _ := (AcknowledgedProperty{property("", "p", ""),
			PropertyAck{Description: given}}).Fit(); got.Description != want {
			t.Errorf("%q became %q", given, got.Description)
		}
	}
}

func TestClearPatchHasOnlyTheValuesThatAreObjects(t *testing.T) {
	acks := []AcknowledgedProperty{
		{property("", "a", ""), PropertyAck{Value: json.RawMessage(` {"x":1}`)}},
		{property("", "b", ""), PropertyAck{Value: json.RawMessage(`[1]`)}},
		{property("c", "d", ""), PropertyAck{Value: json.RawMessage(`{}`)}},
		{property("c", "e", ""), PropertyAck{}},
	}
	if got, _ := json.Marshal(ClearPatch(acks)); string(got) != `{"a":{"value":null},"c":{"__t":"c",`+
		`"d":{"value":null}}}` {
		t.Errorf("%s", got)
	}
	if got := ClearPatch(acks[1:2]); len(got) > 0 {
		t.Errorf("%v", got)
	}
}
