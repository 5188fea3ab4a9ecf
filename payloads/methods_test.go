package payloads

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

func TestMethodRequestIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		topic, body   string
		wantName      string
		wantRequestID string
		wantPayload   string
	}{
		"a plain one": {"$iothub/methods/POST/echo/?$rid=1", `"hi"`, "echo", "1", `"hi"`},
		"of a component": {"$iothub/methods/POST/thermostat1*reboot/?$rid=a", `3`, "thermostat1*reboot",
			"a", `3`},
		"a short name":                    {"$iothub/methods/POST/a/?$rid=1", ``, "a", "1", ""},
		"a slash in the name":             {"$iothub/methods/POST/a/b/?$rid=1", ``, "a/b", "1", ""},
		"a question mark in the name":     {"$iothub/methods/POST/a/?b/?$rid=1", ``, "a/?b", "1", ""},
		"a name beyond ASCII":             {"$iothub/methods/POST/größe %20+/?$rid=1", ``, "größe %20+", "1", ""},
		"an opaque request ID stays":      {"$iothub/methods/POST/echo/?$rid=%2Fa%zz=b", ``, "echo", "%2Fa%zz=b", ""},
		"a second parameter is ignored":   {"$iothub/methods/POST/echo/?x=1&$rid=7&y", ``, "echo", "7", ""},
		"null is a payload":               {"$iothub/methods/POST/echo/?$rid=1", `null`, "echo", "1", "null"},
		"white space is an empty payload": {"$iothub/methods/POST/echo/?$rid=1", " \n", "echo", "1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := ParseMethod(c.topic, []byte(c.body))
			if err != nil || m.Name != c.wantName || m.RequestID != c.wantRequestID ||
				string(m.Payload) != c.wantPayload {
				t.Fatalf("got %q %q %q, %v", m.Name, m.RequestID, m.Payload, err)
			}
			if empty := c.wantPayload == ""; empty != (m.Payload == nil) {
				t.Fatalf("an empty body must give nil, and only an empty body: %#v", m.Payload)
			}
		})
	}
}

func TestBadMethodTopicIsAnError(t *testing.T) {
	for _, topic := range []string{
		"",
		"$iothub/methods/POST/",
		"$iothub/methods/POST/echo",
		"$iothub/methods/POST//?$rid=1",
		"$iothub/methods/POST/echo/?",
		"$iothub/methods/POST/echo/?$rid",
		"$iothub/methods/POST/echo/?$rid=",
		"$iothub/methods/POST/echo/?rid=1",
		"$iothub/methods/POST/echo/?$rid=a+b",
		"$iothub/methods/POST/echo/?$rid=#",
		"$iothub/methods/POST/echo/?$rid=a\x00",
		"$iothub/methods/POST/echo/?$rid=a\xff",
		"$iothub/methods/POST/\xff/?$rid=1",
		"$iothub/methods/GET/echo/?$rid=1",
	} {
		if m, err := ParseMethod(topic, nil); err == nil {
			t.Errorf("%q was read as %+v", topic, m)
		}
	}
}

func TestMethodWithABadPayloadCanBeAnswered(t *testing.T) {
	for _, body := range []string{"{", "hello", "\"\xff\""} {
		m, err := ParseMethod("$iothub/methods/POST/echo/?$rid=9", []byte(body))
		if err == nil || m.Name != "echo" || m.RequestID != "9" || m.Payload != nil {
			t.Errorf("%q: got %+v, %v", body, m, err)
		}
	}
}

func TestMethodAnswerRepeatsTheRequestID(t *testing.T) {
	topic, body, err := MethodAnswer(404, "%2Fa=b c", nil)
	if err != nil || topic != "$iothub/methods/res/404/?$rid=%2Fa=b c" || len(body) != 0 {
		t.Fatalf("got %q %q, %v", topic, body, err)
	}
}

func TestMethodAnswerIsJSONOrEmpty(t *testing.T) {
	var none *int
	for name, c := range map[string]struct {
		answer any
		want   string
	}{
		"nil is empty":             {nil, ""},
		"an empty raw message too": {json.RawMessage(nil), ""},
		"raw JSON goes as it is":   {json.RawMessage(`{ "a" : "<b>" }`), `{ "a" : "<b>" }`},
		"a value is marshalled":    {map[string]int{"a": 1}, `{"a":1}`},
		"a nil pointer is null":    {none, "null"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, body, err := MethodAnswer(200, "1", c.answer); err != nil || string(body) != c.want {
				t.Fatalf("got %q, %v", body, err)
			}
		})
	}
}

func TestMethodAnswerThatCannotBeSentIsAnError(t *testing.T) {
	beyond := int64(1) // a variable, for an int may have 32 bits
	below, above := int(math.MinInt32-beyond), int(math.MaxInt32+beyond)
	for name, c := range map[string]struct {
		status    int
		requestID string
		answer    any
	}{
		"broken raw JSON":          {200, "1", json.RawMessage(`{`)},
		"raw JSON not UTF-8":       {200, "1", json.RawMessage("\"\xff\"")},
		"a value JSON cannot say":  {200, "1", func() {}},
		"one byte above 128 KB":    {200, "1", strings.Repeat("x", 128*1024-1)},
		"a status below 32 bits":   {below, "1", nil},
		"a status above 32 bits":   {above, "1", nil},
		"no request ID":            {200, "", nil},
		"a wildcard":               {200, "a#", nil},
		"a second parameter":       {200, "a&b", nil},
		"a request ID without end": {200, strings.Repeat("x", 65535), nil},
	} {
		if strconv.IntSize == 32 && (c.status == below || c.status == above) {
			continue // no int is beyond 32 bits
		}
		if topic, _, err := MethodAnswer(c.status, c.requestID, c.answer); err == nil {
			t.Errorf("%s: made %.80q", name, topic)
		}
	}
	rest := len("$iothub/methods/res/200/?$rid=")
	for length, fits := range map[int]bool{65535 - rest: true, 65536 - rest: false} {
		if topic, _, err := MethodAnswer(200, strings.Repeat("x", length), nil); (err == nil) != fits {
			t.Errorf("a topic of %d bytes: %v", len(topic), err)
		}
	}
	for _, status := range []int{math.MinInt32, -1, 0, 99, 1000, math.MaxInt32} {
		if topic, _, err := MethodAnswer(status, "1", nil); err != nil ||
			topic != fmt.Sprintf("$iothub/methods/res/%d/?$rid=1", status) {
			t.Errorf("status %d: %s, %v", status, topic, err)
		}
	}
	if _, body, err := MethodAnswer(200, "1", strings.Repeat("x", 128*1024-2)); err != nil || len(body) != 128*1024 {
		t.Errorf("128 KB must pass: %v", err)
	}
}
