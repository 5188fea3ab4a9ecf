package control_test

import (
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

func commandPath(name string) string { return devicePath + "/commands/" + name + version }

func TestACommandIsAnsweredByTheDevice(t *testing.T) {
	w := onSockets(t)
	w.newTestDevice()
	for request, response := range map[string]string{
		`{"request":"hi"}`: `"hi"`, `{"request":{"a":[1.50,null]}}`: `{"a":[1.50,null]}`, `{"request":null}`: `null`,
		`{"request":0}`: `0`,
	} {
		got := w.do(w.request("POST", commandPath("echo"), request))
		if want := `{"response":` + response + `,"responseCode":200}` + "\n"; got.StatusCode != 201 ||
			got.text != want {
			t.Errorf("%s: %d %s, want %s", request, got.StatusCode, got.text, want)
		}
	}
	for _, nothing := range []string{``, `{}`, `{"since":"a mistake"}`} {
		wantJSON(t, w.want(201, "POST", commandPath("echo"), nothing), `{"responseCode":200}`)
	}
	w.want(201, "POST", commandPath("echo"), `{"request":5}`)
	wantJSON(t, w.want(200, "GET", commandPath("echo"), ""),
		`{"value":[{"request":5,"response":5,"responseCode":200}]}`)
	if v := w.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
}

func TestADevicesRefusalIsAnAnswer(t *testing.T) {
	w := onSockets(t)
	w.newTestDevice()
	// with an unknown template, any command is allowed
	w.want(200, "PATCH", devicePath+version, `{"template":"dtmi:unknown;1"}`)
	wantJSON(t, w.want(201, "POST", commandPath("reboot"), `{"request":1}`), `{"responseCode":404}`)
}

func TestACommandOfAComponentIsNamedAfterBoth(t *testing.T) {
	w := withParts(t)
	w.newTestDevice()
	w.want(200, "PATCH", devicePath+version, `{"template":"dtmi:parts;1"}`)
	path := devicePath + "/components/part/commands/echo" + version
	wantJSON(t, w.want(201, "POST", path, `{"request":1}`), `{"response":1,"responseCode":200}`)
	wantJSON(t, w.want(200, "GET", path, ""), `{"value":[{"request":1,"response":1,"responseCode":200}]}`)
	wantJSON(t, w.want(200, "GET", commandPath("echo"), ""), `{"value":[]}`)
}

func TestADurableCommandIsPendingUntilTheDeviceConnects(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	w.want(200, "PUT", "/api/deviceTemplates/dtmi:parts;1"+version, parts)
	w.newTestDevice().Disconnect(250) // a device that has had a session can get durable commands
	w.waitUntil("it has gone", func() bool { return !w.Connected(device, "A") })
	for request, want := range map[string]string{
		`{"request":"08:30:00Z"}`: "08:30:00Z", `{"request":{"a": 1}}`: `{"a":1}`, `{"request":1.23}`: "1.23",
		`{}`:               "@",
		`{"request":null}`: "@",
	} {
		answered := w.want(201, "POST", commandPath("setAlarm"), request)
		if answered["responseCode"] != nil || answered["response"] != nil {
			t.Errorf("it answers %v", answered)
		}
		g := w.newTestDevice()
		w.waitUntil("it has come", func() bool { return w.QueueLength(device) == 0 })
		g.Disconnect(250)
		if len(g.commands) != 1 || g.commands[0] != "setAlarm "+want {
			t.Errorf("%s: the device got %q", request, g.commands)
		}
	}
	wantJSON(t, w.want(200, "GET", commandPath("setAlarm"), ""), `{"value":[`+lastRunOf(t, w)+`]}`)

	w.want(200, "PATCH", devicePath+version, `{"template":"dtmi:parts;1"}`)
	w.want(201, "POST", devicePath+"/components/part/commands/later"+version, `{"request":true}`)
	g := w.newTestDevice()
	w.waitUntil("it has come", func() bool { return w.QueueLength(device) == 0 })
	g.Disconnect(250)
	if len(g.commands) != 1 || g.commands[0] != "part*later true" {
		t.Errorf("the device got %q", g.commands)
	}
}

// lastRunOf returns the last command that ran.
func lastRunOf(t *testing.T, w world) string {
	t.Helper()
	all := w.want(200, "GET", commandPath("setAlarm"), "")["value"].([]any)
	if len(all) != 1 {
		t.Fatalf("the history is %v", all)
	}
	return string(jsonOf(all[0]))
}

func TestADurableCommandHasItsLimits(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	w.want(200, "PATCH", devicePath+version, `{"template":"`+model+`"}`)
	w.wantError(404, "NotFound", "no session yet", "POST", commandPath("setAlarm"), `{}`)
	w.newTestDevice().Disconnect(250)
	w.waitUntil("it has gone", func() bool { return !w.Connected(device, "A") })
	long := `{"request":"` + strings.Repeat("x", 64<<10) + `"}`
	w.wantError(422, "InvalidBody", "65536", "POST", commandPath("setAlarm"), long)
	for range 50 {
		w.want(201, "POST", commandPath("setAlarm"), `{}`)
	}
	w.wantError(429, "TooManyRequests", "queue is full", "POST", commandPath("setAlarm"), `{}`)
	wantJSON(t, w.want(200, "DELETE", system+"c2d", ""),
		`{"message":"The queue of cloud-to-device messages of device dev1 is empty. Messages purged: 50."}`)
	w.want(201, "POST", commandPath("setAlarm"), `{}`)
}

func TestACommandThatCannotBeSentIsAnError(t *testing.T) {
	w := onSockets(t)
	w.newTestDevice()
	for name, part := range map[string]string{
		"reboot": `no "reboot"`, "temp": "not a command", "a*b": "consist of letters", "a%2Fb": "consist of letters",
		"%23": "consist of letters",
	} {
		w.wantError(404, "NotFound", part, "POST", commandPath(name), `{}`)
		w.wantError(404, "NotFound", part, "GET", commandPath(name), ``)
	}
	w.wantError(404, "NotFound", "no component", "POST", devicePath+"/components/part/commands/echo"+version, `{}`)
	for body, part := range map[string]string{
		`{"connectionTimeout":-1}`: "0 to 300", `{"connectionTimeout":301}`: "0 to 300",
		`{"connectionTimeout":18446744074}`: "0 to 300",
		`{"responseTimeout":4}`:             "5 to 30", `{"responseTimeout":31}`: "5 to 30",
		`{"responseTimeout":18446744079}`:                    "5 to 30",
		`{"request":"` + strings.Repeat("x", 128<<10) + `"}`: "131072",
	} {
		w.wantError(422, "InvalidBody", part, "POST", commandPath("echo"), body)
	}
	w.wantError(400, "InvalidBody", "responseTimeout", "POST", commandPath("echo"), `{"responseTimeout":"5"}`)
}

func TestADeviceThatDoesNotAnswerIsATimeout(t *testing.T) {
	for body, after := range map[string]time.Duration{
		`{}`: 30 * time.Second, `{"responseTimeout":5}`: 5 * time.Second, `{"responseTimeout":30}`: 30 * time.Second,
	} {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			w.newTestDevice().mute.Store(true)
			began := time.Now()
			w.wantError(408, "RequestTimeout", "in time", "POST", commandPath("echo"), body)
			if took := time.Since(began); took != after {
				t.Errorf("%s: it took %v", body, took)
			}
			wantJSON(t, w.want(200, "GET", commandPath("echo"), ""), `{"value":[]}`)
		})
	}
}

func TestACommandWaitsForADeviceUntilItsConnectionTimeout(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		began := time.Now()
		w.wantError(404, "NotFound", "Could not connect", "POST", commandPath("echo"), `{"request":1}`)
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
		w.wantError(404, "NotFound", "Could not connect", "POST", commandPath("echo"), `{"connectionTimeout":20}`)
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("it took %v", took)
		}
		w.wantError(404, "NotFound", "Could not connect", "POST", commandPath("echo"), `{"connectionTimeout":300}`)
		if took := time.Since(began); took != 320*time.Second {
			t.Errorf("it took %v", took)
		}
		began = began.Add(300 * time.Second)
		answered := make(chan reply, 1)
		go func() {
			answered <- w.do(w.request("POST", commandPath("echo"), `{"request":1,"connectionTimeout":30}`))
		}()
		time.Sleep(29 * time.Second)
		w.newTestDevice()
		got := <-answered
		wantJSON(t, got.object(t), `{"response":1,"responseCode":200}`)
		if took := time.Since(began); got.StatusCode != 201 || took != 49*time.Second {
			t.Errorf("%d after %v", got.StatusCode, took)
		}
	})
}

func TestACommandsNameFollowsDTDL(t *testing.T) {
	w := onSockets(t)
	w.newTestDevice()
	w.want(200, "PATCH", devicePath+version, `{"template":"dtmi:unknown;1"}`)
	for _, name := range []string{"a", "a_1", strings.Repeat("n", 64)} {
		w.want(201, "POST", commandPath(name), `{"request":1}`)
	}
	for _, name := range []string{"1a", "_a", "a_", "a-b", "a*b", strings.Repeat("n", 65)} {
		w.wantError(404, "NotFound", "letters, digits and _", "POST", commandPath(name), `{"request":1}`)
	}
}

// Microsoft's SDK for Java and its sample for Python send the payload as a string.
func TestACommandIsDurableForADeviceThatNamedItsModelInAString(t *testing.T) {
	for _, payload := range []any{
		map[string]string{"modelId": model}, `{"modelId":"` + model + `"}`, `{"iotcModelId":"` + model + `"}`,
	} {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			a, err := provisioning.Register(t.Context(), provisioning.Request{
				Identity: provisioning.Identity{
					ProvisioningHost: w.DPSHost(), IDScope: w.IDScope(), RegistrationID: device,
					Key: func() (transport.Key, error) {
						group, err := transport.ParseKey(w.GroupKey())
						return group.Derive(device), err
					},
				},
				Payload: payload,
				Link:    transport.Link{Dial: w.dial, RootCAs: w.CAPool},
			})
			if err != nil || a.Hub != w.Hub("A") {
				t.Fatalf("got %+v, %v", a, err)
			}
			// A direct method would be refused because the device is not connected.
			w.wantError(404, "NotFound", "no session yet", "POST", commandPath("setAlarm"), `{}`)
		})
	}
}
