package control_test

import "testing"

// The example of an error is a body that the same route accepts.
func TestAnErrorAboutABodyShowsABodyThatIsAccepted(t *testing.T) {
	w := onSockets(t)
	w.newTestDevice()
	for _, c := range []struct{ method, path, example string }{
		{"POST", commandPath("echo"), `{"request":"hello"}`},
		{"PATCH", devicePath + version, `{"displayName":"Pump 1","enabled":true}`},
		{"PATCH", propertiesPath, `{"fanSpeed":3}`},
		{"PUT", "/api/deviceTemplates/dtmi:x;1" + version, `{"displayName":"Pump","capabilityModel":` +
			`{"contents":[{"@type":"Telemetry","name":"temp","schema":"double"}]}}`},
		{"POST", system + "manual-failover", `{"ttl":5}`},
		{"POST", "/lizard/v1/strikes", `{"target":"A","fault":"fin","parameters":{"for":"30s"}}`},
	} {
		for _, body := range []string{`{"a":1}x`, "{'a':1}", "{"} {
			w.wantError(400, "InvalidBody", "such as "+c.example, c.method, c.path, body)
		}
		if c.path != commandPath("echo") {
			w.wantError(400, "InvalidBody", "such as "+c.example, c.method, c.path, `[5]`)
		}
		if got := w.do(w.request(c.method, c.path, c.example)); got.StatusCode >= 300 {
			t.Errorf("%s %s: %d %s for the example %s", c.method, c.path, got.StatusCode, got.text, c.example)
		}
	}
	w.wantError(422, "InvalidBody", `such as {"contents":[`, "PUT", "/api/deviceTemplates/dtmi:x;1"+version, `{}`)
	w.wantError(400, "InvalidParameter", `such as {"target":"A"`, "POST", "/lizard/v1/strikes", `{}`)
}

// People give the argument of a command alone, which az and IoT Central do not wrap.
func TestAnArgumentWithoutItsNameIsShownWithIt(t *testing.T) {
	w := onSockets(t)
	w.newTestDevice()
	for body, example := range map[string]string{
		`"hi"`: `{"request":"hi"}`, ` 5 `: `{"request":5}`, `[1, 2]`: `{"request":[1,2]}`, `true`: `{"request":true}`,
		`hi`: `{"request":"hello"}`,
	} {
		w.wantError(400, "InvalidBody", "not a JSON object. Give one such as "+example, "POST", commandPath("echo"),
			body)
	}
}

func TestAMemberOfTheWrongTypeIsDescribedInTheWordsOfJSON(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	for body, reason := range map[string]string{
		`{"displayName":5.5}`:     "displayName must be a string, but has the type number.",
		`{"enabled":"yes"}`:       "enabled must be true or false, but has the type string.",
		`{"organizations":"a"}`:   "organizations must be a list, but has the type string.",
		`{"organizations":[5]}`:   "organizations must be a string, but has the type number.",
		`{"displayName":{"a":1}}`: "displayName must be a string, but has the type object.",
	} {
		w.wantError(400, "InvalidBody", reason, "PATCH", devicePath+version, body)
	}
	w.wantError(400, "InvalidBody", "ttl must be a whole number, but has the type number.", "POST",
		system+"manual-failover", `{"ttl":1.5}`)
	w.wantError(400, "InvalidBody", "it ends too early", "PATCH", devicePath+version, `{"enabled":`)
}
