package payloads

import (
	"errors"
	"maps"
	"sort"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 123_456_789, time.FixedZone("CET", 3600))

func TestTelemetryTopicHasItsPropertiesInAFixedOrder(t *testing.T) {
	r := Reading{
		Body:       []byte(`{"temp":21.5}`),
		Properties: map[string]string{"zone": "a b", "alarm": "1+1=2", "ort": "Zürich"},
		Taken:      noon,
		Component:  "thermostat1",
	}
	want := "devices/dev1/messages/events/%24.mid=e-1&%24.ct=application%2Fjson&%24.ce=utf-8" +
		"&%24.sub=thermostat1&iothub-creation-time-utc=2026-01-02T11%3A00%3A00.123Z" +
		"&alarm=1%2B1%3D2&ort=Z%C3%BCrich&zone=a%20b"
	for range 20 { // a map's order changes from one range to the next
		if got := r.Topic("dev1", "e-1"); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

func TestReadingOfTheRootNamesNoComponent(t *testing.T) {
	got := Reading{Taken: noon}.Topic("dev1", "7")
	want := "devices/dev1/messages/events/%24.mid=7&%24.ct=application%2Fjson&%24.ce=utf-8" +
		"&iothub-creation-time-utc=2026-01-02T11%3A00%3A00.123Z"
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestOrdinaryReadingPasses(t *testing.T) {
	for name, r := range map[string]Reading{
		"an object":           {Body: []byte(`{"temp":1}`), Taken: noon},
		"the last year":       {Body: []byte(`1`), Taken: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"any JSON":            {Body: []byte(` null `), Taken: noon},
		"odd property values": {Body: []byte(`{}`), Properties: map[string]string{"ü +&=/%": "\x01\n", "empty": ""}},
		"fault injection": {
			Body: []byte(`{}`), Properties: map[string]string{"AzIoTHub_FaultOperationType": "KillTcp"},
		},
		"names near to theirs": {Body: []byte(`{}`),
			Properties: map[string]string{"iothub": "1", "$": "1", "iothub-ack": "1", "iothub-interface-id": "1",
				"mqtt-retain": "1"}},
		"what HTTPS would not": {Body: []byte(`{}`), Properties: map[string]string{"a/b": "c d", "ü": "(ü)"}},
	} {
		if err := r.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadingThatTheHubWouldRefuseIsAnError(t *testing.T) {
	property := func(name, value string) Reading {
		return Reading{Body: []byte(`{}`), Properties: map[string]string{name: value}}
	}
	for name, c := range map[string]struct {
		reading Reading
		says    string
	}{
		"no body":                       {Reading{}, "not UTF-8 JSON"},
		"not JSON":                      {Reading{Body: []byte(`{temp:1}`)}, "not UTF-8 JSON"},
		"JSON that is not UTF-8":        {Reading{Body: []byte("\"\xff\"")}, "not UTF-8 JSON"},
		"an empty name":                 {property("", "x"), "name is empty"},
		"the creation time":             {property("iothub-creation-time-utc", "x"), "set Taken"},
		"the creation time in disguise": {property("IoTHub-Creation-Time-UTC", "x"), "set Taken"},
		"a system property":             {property("$.mid", "x"), "a system property of IoT Hub"},
		"the device's ID": {
			property("iothub-connection-device-id", "x"), "IoT Hub sets this property itself",
		},
		"the module's ID": {
			property("IoTHub-Connection-Module-ID", "x"), "IoT Hub sets this property itself",
		},
		"the generation": {property("iothub-connection-auth-generation-id", "x"),
			"IoT Hub sets this property itself"},
		"the method": {property("iothub-connection-auth-method", "x"),
			"IoT Hub sets this property itself"},
		"the time of arrival":       {property("iothub-enqueuedtime", "x"), "IoT Hub sets this property itself"},
		"NUL in a name":             {property("a\x00", "x"), "NUL"},
		"NUL in a value":            {property("a", "\x00"), "NUL"},
		"a value that is not UTF-8": {property("a", "\xff"), "not UTF-8"},
		"NUL in the component":      {Reading{Body: []byte(`{}`), Component: "\x00"}, "component"},
		"a topic that is too long":  {property("a", strings.Repeat("é", 11000)), "at most 65535"},
		"a year beyond RFC 3339": {Reading{Body: []byte(`{}`), Taken: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
			"year 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.reading.Check(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want it to say %q", err, c.says)
			}
		})
	}
}

// withAdded returns a reading with all properties that the device may add to it, each with its longest value.
func withAdded(r Reading) Reading {
	all := map[string]string{
		"failover-lane": "backlog", "clock": "estimated", "failover-missing": strings.Repeat("1", 250),
		"failover-before": strings.Repeat("%", 128), "failover-requeued": strings.Repeat("%", 128),
	}
	maps.Copy(all, r.Properties)
	r.Properties = all
	return r
}

func TestLargestReadingFitsToTheByte(t *testing.T) {
	// What IoT Hub counts beside the body: message ID, content type and encoding, creation time
	// with its name, the component, and all properties.
	rest := 128 + len("application/json") + len("utf-8") + len("iothub-creation-time-utc") +
		len("2026-01-02T11:00:00.123Z") + len("c1")
	for name, value := range withAdded(Reading{Properties: map[string]string{"a": "bc"}}).Properties {
		rest += len(name) + len(value)
	}
	reading := func(size int) Reading {
		return Reading{
			Body:       []byte(`"` + strings.Repeat("x", size-rest-2) + `"`),
			Component:  "c1",
			Properties: map[string]string{"a": "bc"},
			Taken:      noon,
		}
	}
	if err := reading(262144).Check(); err != nil {
		t.Errorf("262144 bytes: %v", err)
	}
	var tooLarge *TooLargeError
	if err := reading(262145).Check(); !errors.As(err, &tooLarge) || tooLarge.Size != 262145 || tooLarge.Max != 262144 {
		t.Errorf("262145 bytes: %v", err)
	} else if !strings.Contains(err.Error(), "262145 bytes as IoT Hub counts them, at most 262144 fit") {
		t.Error(err)
	}
}

// The device's own properties fit into a topic that could not be longer, too.
func TestLongestTopicFitsToTheByte(t *testing.T) {
	for name, reading := range map[string]func(length int) Reading{
		"a property": func(length int) Reading {
			return Reading{Body: []byte("1"), Taken: noon,
				Properties: map[string]string{"a": strings.Repeat("x", length)}}
		},
		"a component": func(length int) Reading {
			return Reading{Body: []byte("1"), Taken: noon, Component: strings.Repeat("x", length)}
		},
	} {
		topic := func(length int) int {
			return len(withAdded(reading(length)).Topic(strings.Repeat("d", 128), strings.Repeat("%", 128)))
		}
		longest := sort.Search(65535, func(n int) bool { return reading(n+1).Check() != nil })
		// Check takes each byte of the device's own values for three.
		if n := topic(longest); n > 65535 || n < 65535-2*(250+len("backlog")+len("estimated")) {
			t.Errorf("%s of %d bytes fits, and makes a topic of %d bytes", name, longest, n)
		}
	}
}
