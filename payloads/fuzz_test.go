package payloads

import (
	"encoding/json"
	"errors"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Each fuzz test states what holds for any bytes at all; its seeds run with the ordinary tests.

func FuzzParseBag(f *testing.F) {
	for _, s := range []string{"", "&", "a=1&b&c=", "%24.mid=1&k=a+b", "=x", "a=%zz", "%00=%00", "a==&&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		bag, err := parseBag(s)
		if err != nil {
			return
		}
		encoded := string(bag.appendTo(nil))
		if strings.ContainsAny(encoded, "+#/$ \x00") {
			t.Errorf("%q holds what a topic must not", encoded)
		}
		if again, err := parseBag(encoded); err != nil || !reflect.DeepEqual(again, bag) {
			t.Errorf("%v came back as %v, %v", bag, again, err)
		}
	})
}

func FuzzReading(f *testing.F) {
	f.Add([]byte(`{"temp":1}`), "thermostat1", "zone", "a b", "e-1", int64(0))
	f.Add([]byte(`1`), "", "$.mid", "x", "", int64(1<<62))
	f.Add([]byte("\xff"), "\x00", "", "#+/", "%", int64(-1))
	f.Fuzz(func(t *testing.T, body []byte, component, name, value, id string, seconds int64) {
		r := Reading{Body: body, Properties: map[string]string{name: value}, Taken: time.Unix(seconds, 0),
			Component: component}
		err := r.Check()
		var tooLarge *TooLargeError
		if errors.As(err, &tooLarge) && tooLarge.Size <= tooLarge.Max {
			t.Errorf("%d is not more than %d", tooLarge.Size, tooLarge.Max)
		}
		if err != nil || len(id) > 128 || !utf8.ValidString(id) {
			return
		}
		topic := r.Topic("dev1", id)
		query, ok := strings.CutPrefix(topic, "devices/dev1/messages/events/")
		if !ok || len(topic) > 65535 || strings.ContainsAny(query, "+#/\x00") {
			t.Fatalf("not a topic: %q", topic)
		}
		bag, err := parseBag(query)
		got, _ := bag.get(name)
		sub, hasSub := bag.get("$.sub")
		mid, _ := bag.get("$.mid")
		if err != nil || got != value || mid != id || sub != component || hasSub != (component != "") {
			t.Errorf("%q came back as %v, %v", topic, bag, err)
		}
	})
}

func FuzzParseMethod(f *testing.F) {
	f.Add("$iothub/methods/POST/echo/?$rid=1", []byte(`"x"`))
	f.Add("$iothub/methods/POST/a/?b/?$rid=%zz", []byte(`null`))
	f.Add("$iothub/methods/POST//?$rid=#", []byte(`{`))
	f.Add("$iothub/methods/POST/echo/?x&%24rid=1&$rid=2", []byte(" "))
	f.Fuzz(func(t *testing.T, topic string, body []byte) {
		m, err := ParseMethod(topic, body)
		if err != nil || len(topic) > 60000 {
			return
		}
		if m.Name == "" || m.Payload != nil && !json.Valid(m.Payload) {
			t.Errorf("%+v", m)
		}
		answer, sent, err := MethodAnswer(200, m.RequestID, m.Payload)
		if len(m.Payload) > maxMethodBytes {
			return
		}
		if err != nil || answer != "$iothub/methods/res/200/?$rid="+m.RequestID || string(sent) != string(m.Payload) {
			t.Errorf("%+v is answered with %q %q, %v", m, answer, sent, err)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	f.Add("dev1", "devices/dev1/messages/devicebound/%24.mid=1&method-name=a%2Ab", []byte("@"))
	f.Add("", "devices//messages/devicebound/", []byte("sample string"))
	f.Add("#", "devices/#/messages/devicebound/=", []byte("\xff"))
	f.Add("dev1", "devices/dev1/messages/devicebound/method-name=%2A", []byte(" 1 "))
	f.Fuzz(func(t *testing.T, deviceID, topic string, body []byte) {
		m, err := ParseMessage(deviceID, topic, body)
		if err != nil {
			return
		}
		if m.Component != "" && m.Name == "" || string(m.Body) != string(body) || m.Properties == nil {
			t.Errorf("%+v", m)
		}
		if p, err := m.Parameter(); p != nil && !(json.Valid(p) && utf8.Valid(p)) || (err != nil) == utf8.Valid(body) {
			t.Errorf("the parameter of %q is %q, %v", body, p, err)
		}
	})
}

func FuzzParseDesired(f *testing.F) {
	f.Add("?$version=8", []byte(`{"a":1,"c":{"__t":"c","b":null,"$version":8}}`))
	f.Add("", []byte(`{"$version":8,"__t":"c","":{"":1}}`))
	f.Add("?$version=8", []byte(`{"a":{"__t":1},"c":{"__t":"c"},"$version":8}`))
	f.Add("?$version=-1", []byte(`null`))
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		d, err := ParseDesired(desiredTopic+query, body)
		if err != nil {
			return
		}
		if d.Version < 0 {
			t.Errorf("version %d", d.Version)
		}
		checkDesired(t, d)
	})
}

func FuzzParseTwin(f *testing.F) {
	f.Add([]byte(`{"desired":{"a":1,"c":{"__t":"c","b":{"x":1}},"$version":12},"reported":{"$version":1}}`))
	f.Add([]byte(`{"desired":{"$version":1},"Desired":{"$version":2},"reported": {} }`))
	f.Add([]byte(`{"desired":[],"reported":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		twin, err := ParseTwin(body)
		if err != nil {
			return
		}
		var reported map[string]json.RawMessage
		if twin.Reported != nil && json.Unmarshal(twin.Reported, &reported) != nil {
			t.Errorf("reported is %s", twin.Reported)
		}
		checkDesired(t, twin.Desired)
	})
}

func checkDesired(t *testing.T, d Desired) {
	t.Helper()
	sorted := slices.IsSortedFunc(d.Properties, func(a, b DesiredProperty) int {
		return slices.Compare([]string{a.Component, a.Name}, []string{b.Component, b.Name})
	})
	if !sorted {
		t.Errorf("not sorted: %v", d.Properties)
	}
	var acks []AcknowledgedProperty
	for _, p := range d.Properties {
		if !json.Valid(p.Value) || strings.HasPrefix(p.Name, "$") || p.Name == "__t" {
			t.Errorf("%q is %q", p.Key(), p.Value)
		}
		acks = append(acks, AcknowledgedProperty{p, PropertyAck{Value: p.Value, Code: 200, Version: d.Version}})
	}
	patch := PropertyAckPatch(acks)
	if _, err := json.Marshal(patch); err != nil {
		t.Errorf("the acknowledgements cannot be written: %v", err)
	}
	_ = CheckReported(patch)
}

func FuzzParseTwinAnswer(f *testing.F) {
	f.Add("200/?$rid=1", []byte(`{}`))
	f.Add("204/?$rid=%20&$version=6&retry-after=9", []byte(``))
	f.Add("429/?$rid=1&retry-after=99999999999999999999", []byte(`{"errorCode":"429001","message":1}`))
	f.Fuzz(func(t *testing.T, rest string, body []byte) {
		a, err := ParseTwinAnswer("$iothub/twin/res/"+rest, body)
		if err != nil {
			return
		}
		if a.Status < 100 || a.Status > 599 || a.RequestID == "" || a.Version < 0 || a.RetryAfter < 0 ||
			a.RetryAfter > time.Hour {
			t.Errorf("%+v", a)
		}
	})
}

func FuzzParseRegistrationAnswer(f *testing.F) {
	f.Add("202/?$rid=1&retry-after=3", []byte(`{"operationId":"4","status":"assigning"}`))
	f.Add("200/?$rid=1", []byte(`{"status":"Assigned","registrationState":{"assignedHub":"h:1","deviceId":"d",`+
		`"payload":null}}`))
	f.Add("200/?$rid=1", []byte(`{"registrationState":{"status":"assigned","assignedHub":"a/b","deviceId":"#"}}`))
	f.Add("401/?$rid=1", []byte(`{"errorCode":1e400,"registrationState":7}`))
	f.Fuzz(func(t *testing.T, rest string, body []byte) {
		a, err := ParseRegistrationAnswer("$dps/registrations/res/"+rest, body)
		if err != nil {
			return
		}
		if a.Status < 100 || a.Status > 599 || a.RequestID == "" || a.RetryAfter < 0 || a.RetryAfter > time.Hour ||
			a.State != strings.ToLower(a.State) || a.Payload != nil && !json.Valid(a.Payload) {
			t.Errorf("%+v", a)
		}
		if a.State == "assigned" && strings.ContainsAny(a.AssignedHub+a.DeviceID, "/#+ \x00") {
			t.Errorf("assigned to %q as %q", a.AssignedHub, a.DeviceID)
		}
	})
}

func FuzzCheckReported(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":[1,"x",null,true]}}`))
	f.Add([]byte(`{"a.b":1}`))
	f.Add([]byte(`{"a":100000000000000000000,"b":1e400}`))
	f.Add([]byte(`{"a":[[[[[[[[[[[[]]]]]]]]]]]]}`))
	f.Fuzz(func(t *testing.T, patch []byte) {
		var m map[string]any
		var raw map[string]json.RawMessage
		if json.Unmarshal(patch, &m) != nil || json.Unmarshal(patch, &raw) != nil || !utf8.Valid(patch) {
			return
		}
		asRaw := map[string]any{}
		for k, v := range raw {
			asRaw[k] = v
		}
		// Raw JSON keeps its numbers as written, decoded JSON has them as floats: all else must
		// agree.
		if decoded, err := CheckReported(m), CheckReported(asRaw); (decoded == nil) != (err == nil) &&
			!strings.ContainsAny(string(patch), "0123456789") {
			t.Errorf("decoded: %v, raw: %v", decoded, err)
		}
	})
}

func FuzzHostPort(f *testing.F) {
	for _, s := range []string{"hub", "hub:1", "[::1]", "[::1]:1", "::1", "https://hub", "a b", "hub:", "[", "]:1",
		"[::%1]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, hub string) {
		host, port, err := HostPort(hub, "8883")
		if err != nil {
			return
		}
		if host == "" || strings.ContainsAny(host+port, "/ @?#%\\[]\x00\n") {
			t.Errorf("%q was read as %q %q", hub, host, port)
		}
		if h, p, err := HostPort(net.JoinHostPort(host, port), "1"); err != nil || h != host || p != port {
			t.Errorf("%q was read as %q %q, and that as %q %q, %v", hub, host, port, h, p, err)
		}
	})
}
