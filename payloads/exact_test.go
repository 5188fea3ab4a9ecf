package payloads

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// inexact are texts that encoding/json changes without a word, and what of each the error names.
var inexact = map[string]string{
	`{"a":1,"a":2}`:                 `"a" stands twice`,
	`{"a":1,"\u0061":2}`:            `"\u0061" stands twice`,
	`{"a":1, "b":[{"c":1,"c" :1}]}`: `"c" stands twice`,
	`{"a\ud800":1,"a\udc00":2}`:     `"a\ud800" holds half`,
	`["\uD834\uDD1E","\uDD1E"]`:     `"\uDD1E" holds half`,
	`"\ud800\ud800\udc00"`:          `holds half`,
	`"\ud800x\udc00"`:               `holds half`,
	`"\\\ud800"`:                    `holds half`,
	`"\ud800"`:                      `holds half`,
	`"\udc00\ud800"`:                `holds half`,
	"\"\xff\"":                      `not UTF-8 JSON`,
	`{"a":1`:                        `not UTF-8 JSON`,
	``:                              `not UTF-8 JSON`,
}

func TestCheckJSONNamesWhatDecodingWouldChange(t *testing.T) {
	for text, named := range inexact {
		if err := CheckJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), named) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		`{"a":{"a":{"a":1}},"A":1,"á":2}`, `[{"a":1},{"a":2}]`, `{"x":"a","a":"x","b":"a"}`, `{"":1}`, ` { } `,
		`12345678901234567890123`,
		`"\ud834\udd1e"`, `"\\ud800"`, `"\ufffd"`, `"\ue000\ud7ff"`, `"say \"\\\""`, `{"\"":1,"\\":2}`, `["a","a",":"]`,
		`null`,
	} {
		if err := CheckJSON([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestReadObjectKeepsTheValues(t *testing.T) {
	text := `{"a": {"b":1, "b":2} ,"c":"\ud800", "d":[{"e":1,"e":1}]}`
	got, err := ReadObject([]byte(text))
	want := map[string]json.RawMessage{
		"a": json.RawMessage(`{"b":1, "b":2}`), "c": json.RawMessage(`"\ud800"`),
		"d": json.RawMessage(`[{"e":1,"e":1}]`),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s was read as %s, %v", text, got, err)
	}
	for _, text := range []string{`{"a":1,"a":2}`, `{"\ud800":1}`, `null`, `[]`, `7`, ``, "{\"a\":\"\xff\"}"} {
		if got, err := ReadObject([]byte(text)); err == nil {
			t.Errorf("%s was read as %s", text, got)
		}
	}
}

type texts struct {
	Text   string
	Hidden string `json:"-"`
	Inner  *texts
}

type name string

func (n name) MarshalText() ([]byte, error) { return []byte("<" + n), nil }

func TestMarshalRefusesTextThatIsNotUTF8(t *testing.T) {
	var none *name
	for _, v := range []any{
		"\xff", []string{"a", "\xff"}, [1]string{"\xff"}, map[string]any{"a\xff": 1, "a\xfe": 2},
		map[string][]any{"a": {"\xff"}},
		texts{Text: "\xff"}, &texts{Inner: &texts{Text: "\xff"}}, name("\xff"), map[name]int{"\xff": 1},
		json.RawMessage("\"\xff\""),
	} {
		if text, err := Marshal(v); err == nil {
			t.Errorf("%#v became %s", v, text)
		}
	}
	for _, v := range []any{
		nil, "\ufffd", []byte("\xff"), texts{Text: "é", Hidden: "\xff"}, json.RawMessage(`"\ufffd"`), none,
		map[string]any{"a": nil}, 1.5, name("x"),
	} {
		text, err := Marshal(v)
		if want, _ := json.Marshal(v); err != nil || string(text) != string(want) {
			t.Errorf("%#v became %s, %v, want %s", v, text, err, want)
		}
	}
}

func TestNilPointerIsMarshalledAsNull(t *testing.T) {
	var address *netip.Addr // a nil *netip.Addr cannot be asked for its text
	for want, v := range map[string]any{
		`null`:                       address,
		`{"a":null}`:                 map[string]any{"a": address},
		`[null]`:                     []any{address},
		`{"A":null}`:                 struct{ A any }{address},
		`{"a":{"b":[null]}}`:         map[string]any{"a": map[string]any{"b": []any{address}}},
		`{"a":null,"b":"192.0.2.1"}`: map[string]any{"a": address, "b": netip.MustParseAddr("192.0.2.1")},
	} {
		if text, err := Marshal(v); err != nil || string(text) != want {
			t.Errorf("got %s, %v, want %s", text, err, want)
		}
	}
}

func TestReportedPropertiesThatEncodingWouldChangeAreRefused(t *testing.T) {
	for text := range inexact {
		if err := CheckReported(map[string]any{"p": json.RawMessage(text)}); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
	if err := CheckReported(map[string]any{"a\xff": 1}); err == nil {
		t.Error("a name that is not UTF-8 was accepted")
	}
	big := AcknowledgedProperty{DesiredProperty: property("", "p", "1"),
		PropertyAck: PropertyAck{Value: json.RawMessage(`{"a":1,"a":2}`), Code: 200}}
	if fit, err := big.Fit(); err == nil || fit.PropertyAck.Value != nil ||
		!strings.Contains(fit.Description, "stands twice") {
		t.Errorf("an answer that no twin keeps as it is became %+v, %v", fit.PropertyAck, err)
	}
}

// A twin's values are handed on byte for byte, whatever they hold.
func TestValuesOfATwinAreKept(t *testing.T) {
	const values = `"twice":{"a":1,"a":2},"half":"\ud800","number":12345678901234567890.123456789e-5,"c":{"__t":"c",` +
		`"in":[{"b":1,"b":2}]}`
	twin, err := ParseTwin([]byte(`{"desired":{` + values + `,"$version":1}}`))
	want := []DesiredProperty{
		property("", "half", `"\ud800"`), property("", "number", `12345678901234567890.123456789e-5`),
		property("", "twice", `{"a":1,"a":2}`), property("c", "in", `[{"b":1,"b":2}]`),
	}
	if err != nil || !reflect.DeepEqual(twin.Desired.Properties, want) {
		t.Errorf("got %s, %v", twin.Desired.Properties, err)
	}
	for _, text := range []string{
		`{"desired":{"a":1,"a":2,"$version":1}}`, `{"desired":{"a\ud800":1,"$version":1}}`,
		`{"desired":{"$version":1},"desired":{"$version":2}}`,
		`{"desired":{"c":{"__t":"c","a":1,"a":2},"$version":1}}`, `{"Desired":{"$version":1}}`,
	} {
		if twin, err := ParseTwin([]byte(text)); err == nil {
			t.Errorf("%s was read as %+v", text, twin)
		}
	}
	// A patch is merged, so nothing in it may change. The whole twin has what a patch was refused
	// for.
	for _, body := range []string{`{` + values + `}`, `{"a":{"b":1,"b":2}}`, `{"a":"\udc00"}`} {
		if d, err := ParseDesired(desiredTopic+"?$version=8", []byte(body)); err == nil {
			t.Errorf("%s was read as %+v", body, d)
		}
	}
}

func TestNameInTwoSpellingsDoesNotCount(t *testing.T) {
	topic := "$dps/registrations/res/200/?$rid=1"
	a, err := ParseRegistrationAnswer(topic, []byte(
		`{"Status":"assigned","registrationState":{"assignedHub":"a.example","payload":{"x":1,"x":"\ud800"}}}`))
	if err != nil || a.State != "assigned" || a.AssignedHub != "a.example" ||
		string(a.Payload) != `{"x":1,"x":"\ud800"}` {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, body := range []string{
		`{"status":"assigned","status":"failed"}`, `{"status":"assigned","Status":"failed"}`,
		`{"status":"assigned","registrationState":{"assignedHub":"a","AssignedHub":"b"}}`,
		`{"status":"assigned","registrationState":{"assignedHub":"a","assignedHub":"b"}}`,
	} {
		if a, err := ParseRegistrationAnswer(topic, []byte(body)); err == nil {
			t.Errorf("%s was read as %+v", body, a)
		}
	}
	twin := Twin{Reported: json.RawMessage(`{"p":{"ac":200,"av":3,"AV":9},"q":{"AC":200,"AV":9},"r":{"ac":200,"av":1,` +
		`"av":2}}`)}
	if got := fmt.Sprint(twin.AcknowledgedVersions()); got != "map[p:3]" {
		t.Errorf("the answers are %s", got)
	}
	e, err := ParseTwinAnswer("$iothub/twin/res/400/?$rid=1",
		[]byte(`{"errorCode":400004,"ERRORCODE":1,"message":"no","Message":"yes"}`))
	if err != nil || e.Code != 400004 || e.Message != "no" {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestMethodAnswerThatIsNotUTF8IsRefused(t *testing.T) {
	if topic, body, err := MethodAnswer(200, "1", map[string]string{"a": "\xff"}); err == nil {
		t.Errorf("%s %s", topic, body)
	}
	if body, err := RegisterBody("dev1", map[string]string{"a": "\xff"}); err == nil {
		t.Errorf("%s", body)
	}
	exact := json.RawMessage(`{"a":1, "a":"\ud800"}`)
	if _, body, err := MethodAnswer(200, "1", exact); err != nil || string(body) != string(exact) {
		t.Errorf("%s went out as %s, %v", exact, body, err)
	}
}

func FuzzCheckJSON(f *testing.F) {
	for text := range inexact {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"a":{"b":["\ud834\udd1e",{"a":"\\"}]},"b":1e400}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if CheckJSON(text) != nil {
			return
		}
		// Decoded and encoded once, a text that can be kept has as many names and characters as it
		// had: encoding again changes nothing, and no U+FFFD has come in.
		once, err := asJSON(json.RawMessage(text))
		if err != nil || !json.Valid(text) || !utf8.Valid(text) {
			t.Fatalf("%s: %v", text, err)
		}
		encoded, _ := json.Marshal(once)
		lower := strings.ToLower(string(text))
		if strings.ContainsRune(string(encoded), utf8.RuneError) && !strings.ContainsRune(lower, utf8.RuneError) &&
			!strings.Contains(lower, `\ufffd`) {
			t.Errorf("%s became %s", text, encoded)
		}
		if strings.Count(string(encoded), `":`) < strings.Count(string(text), `":`) && !strings.Contains(lower, `\`) {
			t.Errorf("%s became %s", text, encoded)
		}
	})
}
