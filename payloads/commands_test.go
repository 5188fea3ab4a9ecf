package payloads

import (
	"reflect"
	"strings"
	"testing"
)

const devicebound = "devices/dev1/messages/devicebound/"

func TestCommandFilterNamesTheDevice(t *testing.T) {
	if got := CommandFilter("dev1"); got != devicebound+"#" {
		t.Fatal(got)
	}
}

func TestMessageIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		topic string
		want  Message
	}{
		"a durable command": {
			devicebound + "%24.mid=m-1&%24.cid=c&%24.to=%2Fdevices%2Fdev1%2Fmessages%2FdeviceBound" +
				"&iothub-ack=full&method-name=setAlarm",
			Message{ID: "m-1", CorrelationID: "c", Name: "setAlarm",
				Properties: map[string]string{"iothub-ack": "full", "method-name": "setAlarm"}},
		},
		"a command of a component": {
			devicebound + "method-name=clock%2AsetAlarm",
			Message{Component: "clock", Name: "setAlarm",
				Properties: map[string]string{"method-name": "clock*setAlarm"}},
		},
		"a plain message": {
			devicebound + "$.mid=1&a=b+c&null&empty=&%C3%BC=%26%3D",
			Message{ID: "1", Properties: map[string]string{"a": "b+c", "null": "", "empty": "", "ü": "&="}},
		},
		"a question mark before its properties, as Microsoft's SDK for C# shows it": {
			devicebound + "?%24.mid=1&method-name=setAlarm",
			Message{ID: "1", Name: "setAlarm", Properties: map[string]string{"method-name": "setAlarm"}},
		},
		"no properties":              {devicebound, Message{Properties: map[string]string{}}},
		"no properties or last /":    {devicebound[:len(devicebound)-1], Message{Properties: map[string]string{}}},
		"no $. property is no fault": {devicebound + "a=1", Message{Properties: map[string]string{"a": "1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Body = []byte("body")
			got, err := ParseMessage("dev1", c.topic, []byte("body"))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestMessageWithABadPropertyIsRead(t *testing.T) {
	for query, want := range map[string]struct {
		Message
		named string
	}{
		"note=100%&%24.mid=m&method-name=setAlarm": {Message{ID: "m", Name: "setAlarm",
			Properties: map[string]string{"note": "100%", "method-name": "setAlarm"}}, `"note=100%"`},
		"=x&%24.mid=m&method-name=setAlarm": {Message{ID: "m", Name: "setAlarm",
			Properties: map[string]string{"": "x", "method-name": "setAlarm"}}, `"=x"`},
		"%24.to=%zz&%24.mid=m": {Message{ID: "m", Properties: map[string]string{}}, `"%24.to=%zz"`},
		"%24.mid=%zz&a=1":      {Message{ID: "%zz", Properties: map[string]string{"a": "1"}}, `"%24.mid=%zz"`},
		"method-name=50%": {Message{Name: "50%", Properties: map[string]string{"method-name": "50%"}},
			`"method-name=50%"`},
		"method-name=%2Astop": {
			Message{Name: "*stop", Properties: map[string]string{"method-name": "*stop"}}, `"*stop"`,
		},
		"method-name=c%2A": {Message{Name: "c*", Properties: map[string]string{"method-name": "c*"}}, `"c*"`},
		"a=1&b=2&a=3":      {Message{Properties: map[string]string{"a": "1", "b": "2"}}, `"a" stands twice`},
	} {
		got, err := ParseMessage("dev1", devicebound+query, nil)
		bad := got.BadProperties
		got.BadProperties = nil
		if err != nil || !reflect.DeepEqual(got, want.Message) {
			t.Errorf("%q: got  %+v, %v\nwant %+v", query, got, err, want.Message)
		}
		if bad == nil || !strings.Contains(bad.Error(), want.named) {
			t.Errorf("%q: named is %v", query, bad)
		}
	}
}

func TestBadMessageTopicIsAnError(t *testing.T) {
	for _, topic := range []string{
		"",
		"devices/dev2/messages/devicebound/",
		"devices/dev1/messages/deviceboundX",
		"devices/dev1/messages/events/",
	} {
		if m, err := ParseMessage("dev1", topic, nil); err == nil {
			t.Errorf("%q was read as %+v", topic, m)
		}
	}
}

func TestMessageOwnsItsBody(t *testing.T) {
	body := []byte("abc")
	m, _ := ParseMessage("dev1", devicebound, body)
	body[0] = 'X'
	if string(m.Body) != "abc" {
		t.Fatal("the body changed with the caller's buffer")
	}
}

func TestParameterOfACommandIsJSON(t *testing.T) {
	for body, want := range map[string]string{
		"@":                          "",
		"":                           "",
		"1.23":                       "1.23",
		"-5":                         "-5",
		"true":                       "true",
		"false":                      "false",
		"null":                       "null",
		"sample string":              `"sample string"`,
		`"quoted"`:                   `"quoted"`,
		`say "hi"`:                   `"say \"hi\""`,
		"10:15:00Z":                  `"10:15:00Z"`,
		"2026-01-05T08:00:00.000Z":   `"2026-01-05T08:00:00.000Z"`,
		"007":                        `"007"`,
		"@home":                      `"@home"`,
		" 12\n":                      "12",
		"  ":                         `"  "`,
		`{"StartTime":"x","Bank":2}`: `{"StartTime":"x","Bank":2}`,
		`{"broken":`:                 `"{\"broken\":"`,
		"[1,2]":                      "[1,2]",
	} {
		got, err := Message{Body: []byte(body)}.Parameter()
		if err != nil || string(got) != want || (got == nil) != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", body, got, err, want)
		}
	}
	if got, err := (Message{Body: []byte("\xff")}).Parameter(); err == nil {
		t.Errorf("bytes that no JSON can hold became %q", got)
	}
}
