package payloads

import (
	"encoding/json"
	"testing"
)

func TestAnAcknowledgementIsWrittenAsTheConventionSays(t *testing.T) {
	for want, ack := range map[string]Ack{
		`{"value":3,"ac":200,"av":8,"ad":"completed"}`: {Value: json.RawMessage("3"), Code: 200, Version: 8, Description: "completed"},
		`{"value":3,"ac":203,"av":0}`:                  {Value: json.RawMessage("3"), Code: 203},
		`{"value":null,"ac":200,"av":1}`:               {Code: 200, Version: 1},
	} {
		if got, err := json.Marshal(ack); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestAcknowledgementsOfAComponentStandInIt(t *testing.T) {
	ok := func(value string) Ack { return Ack{Value: json.RawMessage(value), Code: 200, Version: 8} }
	for name, c := range map[string]struct {
		acks []Acked
		want string
	}{
		"none": {nil, `{}`},
		"root and components": {
			[]Acked{
				{property("", "fanSpeed", "3"), ok("3")},
				{property("c1", "a", "1"), ok("1")},
				{property("c1", "b", "2"), ok("2")},
			},
			`{"c1":{"__t":"c","a":{"value":1,"ac":200,"av":8},"b":{"value":2,"ac":200,"av":8}},"fanSpeed":{"value":3,"ac":200,"av":8}}`,
		},
		"the later of two counts": {
			[]Acked{{property("", "a", "1"), ok("1")}, {property("", "a", "2"), ok("2")}},
			`{"a":{"value":2,"ac":200,"av":8}}`,
		},
		"a component wins over a property of its name": {
			[]Acked{{property("", "c1", "null"), ok("null")}, {property("c1", "a", "1"), ok("1")}, {property("", "c1", "null"), ok("null")}},
			`{"c1":{"__t":"c","a":{"value":1,"ac":200,"av":8}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			patch := AckPatch(c.acks)
			if got, err := json.Marshal(patch); err != nil || string(got) != c.want {
				t.Fatalf("got  %s, %v\nwant %s", got, err, c.want)
			}
			if err := CheckReported(patch); err != nil {
				t.Fatal(err)
			}
		})
	}
}
