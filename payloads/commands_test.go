package payloads

import (
	"reflect"
	"testing"
)

const devicebound = "devices/dev1/messages/devicebound/"

func TestTheCommandFilterIsTheDevicesOwn(t *testing.T) {
	if got := CommandFilter("dev1"); got != devicebound+"#" {
		t.Fatal(got)
	}
}

func TestAMessageIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		topic string
		want  Message
	}{
		"a durable command": {
			devicebound + "%24.mid=m-1&%24.cid=c&%24.to=%2Fdevices%2Fdev1%2Fmessages%2FdeviceBound&iothub-ack=full&method-name=setAlarm",
			Message{ID: "m-1", CorrelationID: "c", Name: "setAlarm",
				Properties: map[string]string{"iothub-ack": "full", "method-name": "setAlarm"}},
		},
		"a command of a component": {
			devicebound + "method-name=clock%2AsetAlarm",
			Message{Component: "clock", Name: "setAlarm", Properties: map[string]string{"method-name": "clock*setAlarm"}},
		},
		"a plain message": {
			devicebound + "$.mid=1&a=b+c&a=second&null&empty=&%C3%BC=%26%3D",
			Message{ID: "1", Properties: map[string]string{"a": "b+c", "null": "", "empty": "", "ü": "&="}},
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

func TestAMessageTopicThatMakesNoSenseIsAnError(t *testing.T) {
	for _, topic := range []string{
		"",
		"devices/dev2/messages/devicebound/",
		"devices/dev1/messages/deviceboundX",
		"devices/dev1/messages/events/",
		devicebound + "a=%zz",
		devicebound + "=1",
		devicebound + "method-name=%2AsetAlarm",
		devicebound + "method-name=clock%2A",
	} {
		if m, err := ParseMessage("dev1", topic, nil); err == nil {
			t.Errorf("%q was read as %+v", topic, m)
		}
	}
}

func TestAMessageOwnsItsBody(t *testing.T) {
	body := []byte("abc")
	m, _ := ParseMessage("dev1", devicebound, body)
	body[0] = 'X'
	if string(m.Body) != "abc" {
		t.Fatal("the body changed with the caller's buffer")
	}
}

func TestADurableCommandsParameterIsJSON(t *testing.T) {
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
		"\xff":                       `"\ufffd"`,
	} {
		got := Message{Body: []byte(body)}.Parameter()
		if string(got) != want || (got == nil) != (want == "") {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	}
}
