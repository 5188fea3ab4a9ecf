package emulator_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

const (
	getTwin = "$iothub/twin/GET/?$rid="
	report  = "$iothub/twin/PATCH/properties/reported/?$rid="
)

func TestATwinIsReadAndReportedWithVersions(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/twin/res/#")
		for _, step := range []struct{ topic, body, answer string }{
			{getTwin + "1", "", `$iothub/twin/res/200/?$rid=1 {"desired":{"$version":1},"reported":{"$version":1}}`},
			{
				report + "x%20y", `{"a":1,"o":{"x":true,"y":"t"},"n":null}`,
				`$iothub/twin/res/204/?$rid=x%20y&$version=2`,
			},
			{report + "3", `{"a":null,"o":{"x":null,"z":[1,2.50]}}`, `$iothub/twin/res/204/?$rid=3&$version=3`},
			{
				getTwin + "4", "",
				`$iothub/twin/res/200/?$rid=4 {"desired":{"$version":1},"reported":{"$version":3,"o":{"y":"t",` +
					`"z":[1,2.50]}}}`,
			},
			{
				"$iothub/twin/GET/?%24rid=5", "",
				`$iothub/twin/res/200/?$rid=5 {"desired":{"$version":1},"reported":{"$version":3,"o":{"y":"t",` +
					`"z":[1,2.50]}}}`,
			},
		} {
			topic, body := p.request(step.topic, step.body)
			if got := strings.TrimSpace(topic + " " + body); got != step.answer {
				t.Errorf("%s %s\n got %s\nwant %s", step.topic, step.body, got, step.answer)
			}
		}
		_, reported, _, version := w.Twin(device)
		if want := object(t, `{"o":{"y":"t","z":[1,2.5]}}`); version != 3 || !reflect.DeepEqual(reported, want) {
			t.Errorf("the cloud has %v, version %d", reported, version)
		}
		w.wantNoViolation()
	})
}

func TestTwinAnswersNeedASubscription(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustPublish(report+"1", `{"a":1}`)
		p.mustPublish(getTwin+"2", "")
		if got := p.topics(); len(got) != 0 {
			t.Errorf("received %q", got)
		}
		if _, _, _, version := w.Twin(device); version != 2 {
			t.Errorf("version %d", version)
		}
	})
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + `{}` + strings.Repeat(`}`, depth)
}

func TestReportedPropertiesObeyTheRules(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"no JSON":                     {`{"a"`, 400},
		"an array":                    {`[]`, 400},
		"null":                        {`null`, 400},
		"two objects":                 {`{}{}`, 400},
		"a name twice":                {`{"a":1,"a":2}`, 204},
		"a name twice, within":        {`{"a":[{"b":1,"\u0062":2}]}`, 204},
		"half of a pair in a name":    {`{"a\ud800":1}`, 204},
		"half of a pair in a text":    {`{"a":"\udc00"}`, 204},
		"a pair and its escape":       {`{"a":"\ud834\udd1e \\ud800","b":{"a":1}}`, 204},
		"a name that is not UTF-8":    {"{\"\xff\":1}", 400},
		"a dot in a name":             {`{"a.b":1}`, 400},
		"a dollar in a name":          {`{"$version":1}`, 400},
		"a space in a name":           {`{"a b":1}`, 400},
		"a control character":         {`{"a\u0085":1}`, 400},
		"an empty name":               {`{"":1}`, 204},
		"a name within":               {`{"a":{"b":{"$c":1}}}`, 400},
		"a name of 1 KB":              {`{"` + strings.Repeat("n", 1024) + `":1}`, 204},
		"a longer name":               {`{"` + strings.Repeat("n", 1025) + `":1}`, 400},
		"a text of 4 KB":              {`{"a":"` + strings.Repeat("t", 4096) + `"}`, 204},
		"a longer text":               {`{"a":"` + strings.Repeat("t", 4097) + `"}`, 400},
		"a longer text in an array":   {`{"a":["` + strings.Repeat("t", 4097) + `"]}`, 400},
		"the largest integer":         {`{"a":4503599627370495}`, 204},
		"a larger one":                {`{"a":4503599627370496}`, 400},
		"the smallest integer":        {`{"a":-4503599627370496}`, 204},
		"a smaller one":               {`{"a":-4503599627370497}`, 400},
		"a number beyond all numbers": {`{"a":1e999}`, 204},
		"a fraction":                  {`{"a":1.5e300}`, 204},
		"ten levels":                  {nested(10), 204},
		"eleven levels":               {nested(11), 400},
		"eleven levels, one an array": {strings.Replace(nested(11), "{}", "[1]", 1), 204},
		"ten levels, with an array":   {strings.Replace(nested(10), "{}", "[[1]]", 1), 204},
		"ten levels in an array":      {`{"a":[` + nested(9) + `]}`, 204},
		"eleven levels in an array":   {`{"a":[` + nested(10) + `]}`, 400},
		"a null in an array":          {`{"a":[null]}`, 204},
		"a component":                 {`{"thermostat1":{"__t":"c","temperature":21.3}}`, 204},
		"something not there deleted": {`{"a":null,"b":{"c":null}}`, 204},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A"})
				p.mustSubscribe("$iothub/twin/res/#")
				topic, body := p.request(report+"1", c.body)
				if !strings.HasPrefix(topic, fmt.Sprintf("$iothub/twin/res/%d/?$rid=1", c.status)) {
					t.Fatalf("got %s %s", topic, body)
				}
				_, reported, _, version := w.Twin(device)
				if c.status == 204 {
					w.wantNoViolation()
					return
				}
				w.wantViolation("break a rule")
				if answer := object(t, body); answer["errorCode"] == nil || answer["message"] == nil ||
					answer["trackingId"] == nil || answer["timestampUtc"] == nil {
					t.Errorf("the body is %s", body)
				}
				if version != 1 || len(reported) != 0 {
					t.Errorf("stored %v, version %d", reported, version)
				}
			})
		})
	}
}

func TestMoreThan32KBOfReportedPropertiesAre413(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/twin/res/#")
		text := strings.Repeat("t", 4095) // it counts 4096 with its name, so eight of them count 32 KB
		for i := range 9 {
			topic, _ := p.request(report+"1", fmt.Sprintf(`{"%d":%q}`, i, text))
			if refused := strings.Contains(topic, "/res/413/"); refused != (i == 8) {
				t.Errorf("property %d: %s", i+1, topic)
			}
		}
		if topic, _ := p.request(report+"1", `{"0":null,"8":true}`); !strings.Contains(topic, "/res/204/") {
			t.Errorf("after making room: %s", topic)
		}
	})
}

func TestDesiredPropertiesAreSentToConnectedAndSubscribedDevices(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		set := func(patch string) {
			t.Helper()
			if err := w.SetDesired(device, object(t, patch)); err != nil {
				t.Fatal(err)
			}
		}
		w.Enroll(device, "")
		set(`{"before":1}`)
		p := w.mustConnect(login{hub: "A"})
		set(`{"connected":1}`)
		p.mustSubscribe("$iothub/twin/PATCH/properties/desired/#", "$iothub/twin/res/#")
		set(`{"fanSpeed":3,"before":null}`)
		want := []string{`$iothub/twin/PATCH/properties/desired/?$version=4 {"$version":4,"before":null,"fanSpeed":3}`}
		if got := p.topics(); !slices.Equal(got, want) {
			t.Errorf("received %q", got)
		}
		p.close()
		set(`{"offline":1}`)
		p = w.mustConnect(login{hub: "A"}) // its subscriptions are stored, but missed patches are not sent again
		_, body := p.request(getTwin+"1", "")
		if body != `{"desired":{"$version":5,"connected":1,"fanSpeed":3,"offline":1},"reported":{"$version":1}}` {
			t.Errorf("the twin is %s", body)
		}
		desired, _, version, _ := w.Twin(device)
		if version != 5 || !reflect.DeepEqual(desired, object(t, `{"connected":1,"fanSpeed":3,"offline":1}`)) {
			t.Errorf("the cloud has %v, version %d", desired, version)
		}
	})
}

func TestDesiredPropertiesObeyTheRulesToo(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Enroll(device, "")
		for _, patch := range []map[string]any{nil, {"a.b": 1}, {"a": int64(1 << 60)}, {"a": func() {}}} {
			if err := w.SetDesired(device, patch); err == nil {
				t.Errorf("%v was accepted", patch)
			}
		}
		if err := w.SetDesired("dev9", map[string]any{}); err == nil {
			t.Error("an unknown device was accepted")
		}
	})
}
