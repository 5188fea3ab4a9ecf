package payloads

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRegistrationTopics(t *testing.T) {
	if got := RegisterTopic("7"); got != "$dps/registrations/PUT/iotdps-register/?$rid=7" {
		t.Error(got)
	}
	want := "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=8&operationId=4.d0a6-e717"
	if got := PollTopic("8", "4.d0a6-e717"); got != want {
		t.Error(got)
	}
	if got := PollTopic("8", "a&b#+"); !strings.HasSuffix(got, "operationId=a%26b%23%2B") {
		t.Error("an operation ID must not change the topic:", got)
	}
}

func TestRegisterBodyMayHaveAPayload(t *testing.T) {
	for want, payload := range map[string]any{
		`{"registrationId":"dev1"}`:                               nil,
		`{"registrationId":"dev1","payload":{"modelId":"m"}}`:     map[string]string{"modelId": "m"},
		`{"registrationId":"dev1","payload":{"iotcModelId":"m"}}`: json.RawMessage(`{"iotcModelId":"m"}`),
	} {
		if got, err := RegisterBody("dev1", payload); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	if got, err := RegisterBody("dev1", json.RawMessage(nil)); err != nil ||
		string(got) != `{"registrationId":"dev1"}` {
		t.Errorf("an empty raw payload: got %s, %v", got, err)
	}
	if _, err := RegisterBody("dev1", json.RawMessage("{")); err == nil {
		t.Error("a broken payload passed")
	}
	rest := len(`{"registrationId":"dev1","payload":""}`)
	if body, err := RegisterBody("dev1", strings.Repeat("x", 96*1024-rest)); err != nil || len(body) != 96*1024 {
		t.Errorf("96 KB: %d bytes, %v", len(body), err)
	}
	if _, err := RegisterBody("dev1", strings.Repeat("x", 96*1024-rest+1)); err == nil {
		t.Error("more than 96 KB passed")
	}
}

const registrations = "$dps/registrations/res/"

func TestRegistrationAnswerIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		topic, body string
		want        RegistrationAnswer
	}{
		"accepted": {
			"202/?$rid=1&retry-after=3", `{"operationId":"4.d0","status":"assigning"}`,
			RegistrationAnswer{Status: 202, RequestID: "1", RetryAfter: 3 * time.Second, OperationID: "4.d0",
				State: "assigning"},
		},
		"still busy": {
			"202/?$rid=2&Retry-After=3",
			`{"operationId":"4.d0","status":"assigning","registrationState":{"registrationId":"dev1",` +
				`"status":"assigning"}}`,
			RegistrationAnswer{Status: 202, RequestID: "2", RetryAfter: 3 * time.Second, OperationID: "4.d0",
				State: "assigning"},
		},
		"assigned": {
			"200/?$rid=3", `{"operationId":"4.d0","status":"assigned","registrationState":{"symmetricKey":{},
				"registrationId":"dev1","assignedHub":"iotc-1.azure-devices.net","deviceId":"dev1","status":"assigned",
				"substatus":"initialAssignment",
				"errorCode":0,"payload":{"a":1}}}`,
			RegistrationAnswer{Status: 200, RequestID: "3", OperationID: "4.d0", State: "assigned",
				Substatus:   "initialAssignment",
				AssignedHub: "iotc-1.azure-devices.net", DeviceID: "dev1", Payload: json.RawMessage(`{"a":1}`)},
		},
		"any case of names and states": {
			"200/?$rid=3", `{"OperationID":"4","Status":"Assigned","RegistrationState":{"AssignedHub":"[::1]:8883",` +
				`"DEVICEID":"D"}}`,
			RegistrationAnswer{Status: 200, RequestID: "3", OperationID: "4", State: "assigned",
				AssignedHub: "[::1]:8883",
				DeviceID:    "D"},
		},
		"the state inside only": {
			"200/?$rid=3", `{"registrationState":{"status":"Disabled","payload":null}}`,
			RegistrationAnswer{Status: 200, RequestID: "3", State: "disabled"},
		},
		"failed": {
			"200/?$rid=3", `{"status":"failed","registrationState":{"status":"failed","errorCode":400209,` +
				`"errorMessage":"waiting for approval"}}`,
			RegistrationAnswer{Status: 200, RequestID: "3", State: "failed", Code: 400209,
				Message: "waiting for approval"},
		},
		"assigned to no hub": {
			"200/?$rid=3", `{"status":"assigned"}`, RegistrationAnswer{Status: 200, RequestID: "3", State: "assigned"},
		},
		"an error": {
			"401/?$rid=1", `{"errorCode":401002,"trackingId":"8ad0","message":"Invalid certificate.",` +
				`"timestampUtc":"x"}`,
			RegistrationAnswer{Status: 401, RequestID: "1", Code: 401002, Message: "Invalid certificate.",
				TrackingID: "8ad0"},
		},
		"an error with DPS's time": {
			"401/?$rid=1", `{"errorCode":401003,"timestampUtc":"2026-04-10T05:24:22.4718526Z"}`,
			RegistrationAnswer{Status: 401, RequestID: "1", Code: 401003,
				Stamped: time.Date(2026, 4, 10, 5, 24, 22, 471852600, time.UTC)},
		},
		"an update, and the creation before it": {
			"200/?$rid=1", `{"registrationState":{"status":"disabled",` +
				`"createdDateTimeUtc":"2026-01-01T00:00:00.1234567Z",` +
				`"lastUpdatedDateTimeUtc":"2026-02-01T00:00:00Z"}}`,
			RegistrationAnswer{Status: 200, RequestID: "1", State: "disabled",
				Updated: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)},
		},
		"a creation, and an update that was never": {
			"200/?$rid=1", `{"registrationState":{"status":"disabled","createdDateTimeUtc":"2026-01-01T00:00:00Z",` +
				`"lastUpdatedDateTimeUtc":"0001-01-01T00:00:00"}}`,
			RegistrationAnswer{Status: 200, RequestID: "1", State: "disabled",
				Updated: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		},
		"times that are none cost no assignment": {
			"200/?$rid=1", `{"timestampUtc":null,"registrationState":{"status":"assigned","assignedHub":"h",` +
				`"deviceId":"d",` +
				`"createdDateTimeUtc":7,"lastUpdatedDateTimeUtc":{"a":"soon"}}}`,
			RegistrationAnswer{Status: 200, RequestID: "1", State: "assigned", AssignedHub: "h", DeviceID: "d"},
		},
		"an error code in quotes, one field of another type": {
			"429/?$rid=1", `{"errorCode":"429001","trackingId":7,"message":"slow"}`,
			RegistrationAnswer{Status: 429, RequestID: "1", Code: 429001, Message: "slow"},
		},
		"an error without a word":  {"503/?$rid=1", ``, RegistrationAnswer{Status: 503, RequestID: "1"}},
		"an error that is no JSON": {"500/?$rid=1", `<html>`, RegistrationAnswer{Status: 500, RequestID: "1"}},
		"accepted without a word":  {"202/?$rid=1", ` `, RegistrationAnswer{Status: 202, RequestID: "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseRegistrationAnswer(registrations+c.topic, []byte(c.body))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestRetryAfterIsBounded(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"retry-after=3":                     3 * time.Second,
		"RETRY-AFTER=3":                     3 * time.Second,
		"retry-after=0":                     0,
		"retry-after=-3":                    0,
		"retry-after=":                      0,
		"retry-after":                       0,
		"retry-after=soon":                  0,
		"retry-after=1.5":                   0,
		"retry-after=3600":                  time.Hour,
		"retry-after=3601":                  time.Hour,
		"retry-after=99999999999999999999":  time.Hour,
		"retry-after=-99999999999999999999": 0,
		"other=3":                           0,
	} {
		got, err := ParseRegistrationAnswer(registrations+"429/?$rid=1&"+text, nil)
		if err != nil || got.RetryAfter != want {
			t.Errorf("%s: got %v, %v, want %v", text, got.RetryAfter, err, want)
		}
	}
}

func TestBadRegistrationAnswerIsAnError(t *testing.T) {
	assigned := func(hub, device string) string {
		body, _ := json.Marshal(map[string]any{"status": "assigned",
			"registrationState": map[string]string{"assignedHub": hub, "deviceId": device}})
		return string(body)
	}
	for name, c := range map[string]struct{ topic, body string }{
		"another topic":          {"$iothub/twin/res/200/?$rid=1", `{}`},
		"no request ID":          {registrations + "200/?", `{}`},
		"no status":              {registrations + "/?$rid=1", `{}`},
		"success without JSON":   {registrations + "200/?$rid=1", `hello`},
		"success, not an object": {registrations + "200/?$rid=1", `[]`},
		"success not in UTF-8":   {registrations + "200/?$rid=1", "{\"status\":\"\xff\"}"},
		"a hub that is a number": {registrations + "200/?$rid=1", `{"registrationState":{"assignedHub":7}}`},
		"a hub that is a URL":    {registrations + "200/?$rid=1", assigned("https://hub/", "dev1")},
		"a hub with a slash":     {registrations + "200/?$rid=1", assigned("hub/dev2", "dev1")},
		"a device with a slash":  {registrations + "200/?$rid=1", assigned("hub", "dev1/x")},
		"a device with wildcard": {registrations + "200/?$rid=1", assigned("hub", "#")},
		"a device with a space":  {registrations + "200/?$rid=1", assigned("hub", "a b")},
		"a device without end":   {registrations + "200/?$rid=1", assigned("hub", strings.Repeat("d", 129))},
	} {
		if got, err := ParseRegistrationAnswer(c.topic, []byte(c.body)); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

func TestRegistrationAnswerWithABadBodyHasItsRequestID(t *testing.T) {
	got, err := ParseRegistrationAnswer(registrations+"202/?$rid=5&retry-after=2", []byte("?"))
	if err == nil || got.Status != 202 || got.RequestID != "5" || got.RetryAfter != 2*time.Second {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestBadBodyIsAnErrorOnlyWithAStatusOfSuccess(t *testing.T) {
	for status, want := range map[string]bool{"200": true, "299": true, "300": false, "500": false} {
		if got, err := ParseRegistrationAnswer(registrations+status+"/?$rid=1", []byte("?")); (err != nil) != want {
			t.Errorf("%s was read as %+v, %v", status, got, err)
		}
	}
}
