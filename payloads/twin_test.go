package payloads

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTwinTopics(t *testing.T) {
	if got := TwinGetTopic("7"); got != "$iothub/twin/GET/?$rid=7" {
		t.Error(got)
	}
	if got := ReportTopic("a b"); got != "$iothub/twin/PATCH/properties/reported/?$rid=a%20b" {
		t.Error(got)
	}
}

func property(component, name, value string) DesiredProperty {
	return DesiredProperty{Component: component, Name: name, Value: []byte(value)}
}

func TestTwinIsRead(t *testing.T) {
	twin, err := ParseTwin([]byte(`{
		"desired": {
			"thermostat1": {"__t": "c", "target": 21.5, "alarm": null},
			"fanSpeed": 3,
			"limits": {"low": 1, "high": {"$x": 2}},
			"looksLikeOne": {"__t": "x", "a": 1},
			"route": null,
			"list": [1, 2],
			"__t": "c",
			"$metadata": {"fanSpeed": {}},
			"$version": 12
		},
		"reported": {"battery": 80, "$version": 123}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Desired{Version: 12, Properties: []DesiredProperty{
		property("", "fanSpeed", `3`),
		property("", "limits", `{"low": 1, "high": {"$x": 2}}`),
		property("", "list", `[1, 2]`),
		property("", "looksLikeOne", `{"__t": "x", "a": 1}`),
		property("", "route", `null`),
		property("thermostat1", "alarm", `null`),
		property("thermostat1", "target", `21.5`),
	}}
	if !reflect.DeepEqual(twin.Desired, want) {
		t.Errorf("got  %s\nwant %s", twin.Desired.Properties, want.Properties)
	}
	if got := string(twin.Reported); got != `{"battery": 80, "$version": 123}` {
		t.Errorf("reported is %s", got)
	}
}

func TestPropertyNameIsWrittenLikeACommandName(t *testing.T) {
	if got := property("", "fanSpeed", "1").Key().String(); got != "fanSpeed" {
		t.Error(got)
	}
	if got := property("thermostat1", "target", "1").Key().String(); got != "thermostat1*target" {
		t.Error(got)
	}
}

func TestPropertyOfAComponentIsNotThePropertyWithAStarInItsName(t *testing.T) {
	if inside, root := property("c", "x", "1").Key(), property("", "c*x", "1").Key(); inside == root {
		t.Errorf("%#v is %#v", inside, root)
	}
	twin, err := ParseTwin([]byte(`{"desired":{"$version":1},"reported":{
		"c": {"__t": "c", "x": {"value": 1, "ac": 200, "av": 5}}, "c*x": {"value": 2, "ac": 200, "av": 6}}}`))
	want := map[PropertyName]int64{{"c", "x"}: 5, {"", "c*x"}: 6}
	if got := twin.AcknowledgedVersions(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the answers are %v, %v", got, err)
	}
}

func TestAcknowledgedVersionsAreFound(t *testing.T) {
	twin, err := ParseTwin([]byte(`{"desired":{"$version":1},"reported":{
		"fanSpeed": {"value": 3, "ac": 200, "av": 7, "ad": "done"},
		"set": {"value": 3, "ac": 203, "av": 0},
		"thermostat1": {"__t": "c", "target": {"ac": 200, "av": 9}, "temperature": 21.5},
		"battery": 80, "list": [1], "half": {"ac": 200}, "text": {"ac": "200", "av": "7"},
		"$version": 123
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[PropertyName]int64{{Name: "fanSpeed"}: 7, {Name: "set"}: 0, {"thermostat1", "target"}: 9}
	if got := twin.AcknowledgedVersions(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if got := (Twin{}).AcknowledgedVersions(); len(got) > 0 {
		t.Errorf("in none: %v", got)
	}
}

func TestBadTwinIsAnError(t *testing.T) {
	for _, body := range []string{
		``, `null`, `[]`, `{`, `{}`,
		`{"desired":null}`,
		`{"desired":[1]}`,
		`{"desired":{}}`,
		`{"desired":{"$version":null}}`,
		`{"desired":{"$version":"8"}}`,
		`{"desired":{"$version":1.5}}`,
		`{"desired":{"$version":-1}}`,
		`{"desired":{"$version":9223372036854775808}}`,
		`{"desired":{"$version":1},"reported":7}`,
		"{\"desired\":{\"$version\":1,\"a\":\"\xff\"}}",
	} {
		if got, err := ParseTwin([]byte(body)); err == nil {
			t.Errorf("%s was read as %+v", body, got)
		}
	}
	if twin, err := ParseTwin([]byte(`{"desired":{"$version":1},"reported":null}`)); err != nil ||
		twin.Reported != nil {
		t.Errorf("a twin without reported properties: %+v, %v", twin, err)
	}
}

const desiredTopic = "$iothub/twin/PATCH/properties/desired/"

func TestDesiredPatchIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		topic, body string
		want        Desired
	}{
		"version in both": {
			desiredTopic + "?$version=8", `{"route":null,"telemetrySendFrequency":"5m","$version":8}`,
			Desired{8, []DesiredProperty{property("", "route", "null"),
				property("", "telemetrySendFrequency", `"5m"`)}},
		},
		"version in the topic only": {
			desiredTopic + "?%24version=8", `{"a":1}`, Desired{8, []DesiredProperty{property("", "a", "1")}},
		},
		"version in the body only": {
			desiredTopic, `{"a":1,"$version":8}`, Desired{8, []DesiredProperty{property("", "a", "1")}},
		},
		"version inside a component": {
			desiredTopic, `{"c1":{"__t":"c","a":1,"$version":8}}`,
			Desired{8, []DesiredProperty{property("c1", "a", "1")}},
		},
		"the top's version counts": {
			desiredTopic, `{"c1":{"__t":"c","a":1,"$version":3},"$version":8}`,
			Desired{8, []DesiredProperty{property("c1", "a", "1")}},
		},
		"nothing but a version": {desiredTopic + "?$version=8", `{"$version":8}`, Desired{Version: 8}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseDesired(c.topic, []byte(c.body))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %+v, %v", got, err)
			}
		})
	}
}

func TestBadDesiredPatchIsAnError(t *testing.T) {
	for name, c := range map[string]struct{ topic, body string }{
		"versions disagree":              {desiredTopic + "?$version=8", `{"$version":9}`},
		"the component's disagrees":      {desiredTopic + "?$version=8", `{"c":{"__t":"c","$version":9}}`},
		"components disagree":            {desiredTopic, `{"c":{"__t":"c","$version":9},"d":{"__t":"c","$version":8}}`},
		"no version":                     {desiredTopic, `{"a":1}`},
		"a version that is no number":    {desiredTopic + "?$version=x", `{"$version":8}`},
		"a negative version":             {desiredTopic + "?$version=-8", `{}`},
		"a component with a bad version": {desiredTopic, `{"c":{"__t":"c","$version":"9"},"$version":1}`},
		"an empty body":                  {desiredTopic + "?$version=8", ``},
		"not an object":                  {desiredTopic + "?$version=8", `3`},
		"another topic":                  {"$iothub/twin/PATCH/properties/reported/?$version=8", `{}`},
		"a longer topic":                 {desiredTopic + "x?$version=8", `{}`},
		"a broken query":                 {desiredTopic + "?$version=%zz", `{}`},
	} {
		if got, err := ParseDesired(c.topic, []byte(c.body)); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

func TestTwinAnswerIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		topic, body string
		want        TwinAnswer
	}{
		"the twin": {
			"$iothub/twin/res/200/?$rid=1", `{"desired":{}}`,
			TwinAnswer{Status: 200, RequestID: "1", Body: []byte(`{"desired":{}}`)},
		},
		"a report was taken": {
			"$iothub/twin/res/204/?$rid=a%20b&$version=6", ``,
			TwinAnswer{Status: 204, RequestID: "a b", Version: 6},
		},
		"throttled": {
			"$iothub/twin/res/429/?$rid=1&Retry-After=5",
			`{"errorCode":429001,"message":"slow down","trackingId":"T","timestampUtc":"x"}`,
			TwinAnswer{Status: 429, RequestID: "1", RetryAfter: 5 * time.Second, Code: 429001, Message: "slow down",
				TrackingID: "T",
				Body:       []byte(`{"errorCode":429001,"message":"slow down","trackingId":"T","timestampUtc":"x"}`)},
		},
		"an error without a word": {"$iothub/twin/res/500/?$rid=1", ``, TwinAnswer{Status: 500, RequestID: "1"}},
		"an error that is no JSON": {
			"$iothub/twin/res/400/?$rid=1", `<html>`, TwinAnswer{Status: 400, RequestID: "1", Body: []byte(`<html>`)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseTwinAnswer(c.topic, []byte(c.body))
			if len(got.Body) == 0 {
				got.Body = nil
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestStatusOfAnAnswerHasABound(t *testing.T) {
	for _, status := range []int{100, 599} {
		if got, err := ParseTwinAnswer(fmt.Sprintf("$iothub/twin/res/%d/?$rid=1", status), nil); err != nil ||
			got.Status != status {
			t.Errorf("%d was read as %+v, %v", status, got, err)
		}
	}
}

func TestAnswerWithABadPropertyIsRead(t *testing.T) {
	for query, named := range map[string]string{
		"$rid=7&note=100%":         `"note=100%"`,
		"=x&$rid=7":                `"=x"`,
		"?$rid=7&%ff":              `"%ff"`,
		"$rid=7&$version=x":        `$version "x"`,
		"$rid=7&$version":          `$version ""`,
		"$rid=7&$version=-1":       `$version "-1"`,
		"$rid=7&retry-after=3&a=%": `"a=%"`,
	} {
		twin, err := ParseTwinAnswer("$iothub/twin/res/204/?"+query, nil)
		if err != nil || twin.Status != 204 || twin.RequestID != "7" {
			t.Errorf("%q was read as %+v, %v", query, twin, err)
		}
		if bad := twin.BadProperties; bad == nil || !strings.Contains(bad.Error(), named) {
			t.Errorf("%q: named is %v", query, bad)
		}
		if strings.Contains(query, "version") {
			continue
		}
		dps, err := ParseRegistrationAnswer("$dps/registrations/res/202/?"+query,
			[]byte(`{"operationId":"o","status":"assigning"}`))
		if err != nil || dps.RequestID != "7" || dps.OperationID != "o" ||
			dps.RetryAfter > 0 != strings.Contains(query, "retry") {
			t.Errorf("%q was read as %+v, %v", query, dps, err)
		}
		if bad := dps.BadProperties; bad == nil || !strings.Contains(bad.Error(), named) {
			t.Errorf("%q: named is %v", query, bad)
		}
	}
}

func TestBadAnswerTopicIsAnError(t *testing.T) {
	for _, topic := range []string{
		"",
		"$iothub/twin/res/",
		"$iothub/twin/res/200",
		"$iothub/twin/res/200/",
		"$iothub/twin/res/200/?",
		"$iothub/twin/res/200/?$rid=",
		"$iothub/twin/res/200/?$version=3",
		"$iothub/twin/res//?$rid=1",
		"$iothub/twin/res/20/?$rid=1",
		"$iothub/twin/res/099/?$rid=1",
		"$iothub/twin/res/600/?$rid=1",
		"$iothub/twin/res/+20/?$rid=1",
		"$iothub/twin/res/2000/?$rid=1",
		"$iothub/twin/res/20a/?$rid=1",
		"$dps/registrations/res/200/?$rid=1",
	} {
		if got, err := ParseTwinAnswer(topic, nil); err == nil {
			t.Errorf("%q was read as %+v", topic, got)
		}
	}
}

func TestVersionMayBeZero(t *testing.T) {
	for _, topic := range []string{desiredTopic, desiredTopic + "?$version=0"} {
		if got, err := ParseDesired(topic, []byte(`{"$version":0}`)); err != nil || got.Version != 0 {
			t.Errorf("%s was read as %+v, %v", topic, got, err)
		}
	}
}

func TestErrorBodyIsReadOnlyWithAStatusOfFailure(t *testing.T) {
	for status, code := range map[string]int{"299": 0, "300": 7} {
		got, err := ParseTwinAnswer("$iothub/twin/res/"+status+"/?$rid=1", []byte(`{"errorCode":7}`))
		if err != nil || got.Code != code {
			t.Errorf("%s was read as %+v, %v", status, got, err)
		}
	}
}
