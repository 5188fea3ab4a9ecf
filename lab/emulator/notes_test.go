package emulator_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// notedInBubble runs a test and returns the notes that were emitted.
func notedInBubble(t *testing.T, test func(t *testing.T, w world)) (notes []string) {
	t.Helper()
	observe := func(e emulator.Event) {
		if e.Kind == emulator.KindNote {
			notes = append(notes, e.Text)
		}
	}
	inBubble(t, emulator.Config{Observe: observe}, func(t *testing.T, w world) {
		test(t, w)
		w.wantNoViolation()
		w.Close()
	})
	return notes
}

// wantNotes checks that there is exactly one note for each part.
func wantNotes(t *testing.T, notes []string, parts ...string) {
	t.Helper()
	if len(notes) != len(parts) {
		t.Errorf("the notes are %q, want %d", notes, len(parts))
		return
	}
	for _, part := range parts {
		if !slices.ContainsFunc(notes, func(note string) bool { return strings.Contains(note, part) }) {
			t.Errorf("the notes are %q, want one with %q", notes, part)
		}
	}
}

// dpsToken returns a token for DPS with this resource and these additional fields.
func (w world) dpsToken(resource, more string) string {
	return sas(resource, deviceKey(w.Cloud, device), time.Now().Add(time.Hour), more)
}

func TestDPSAcceptsTheTokensOfMicrosoftsSDKs(t *testing.T) {
	for name, c := range map[string]struct {
		skn   string
		notes []string
	}{
		"Node":   {"&skn=registration", nil},
		"Python": {"", []string{"dev1 at DPS signed a token without skn=registration"}},
		"Java":   {"&skn=", []string{"dev1 at DPS signed a token without skn=registration"}},
	} {
		t.Run(name, func(t *testing.T) {
			notes := notedInBubble(t, func(t *testing.T, w world) {
				p := w.connectDPS(login{sas: w.dpsToken(w.IDScope()+"/registrations/dev1", c.skn)})
				if topic, _ := p.register(1); !strings.Contains(topic, "/res/202/") {
					t.Errorf("registering got %s", topic)
				}
			})
			wantNotes(t, notes, c.notes...)
		})
	}
}

func TestDPSAcceptsLoginsThatNoDocumentForbids(t *testing.T) {
	resource := emulator.DevelopmentIDScope + "/registrations/dev1"
	for name, c := range map[string]struct {
		login func(w world) login
		notes []string
	}{
		"a question mark": {
			func(world) login { return login{username: resource + "/?api-version=2019-03-31"} },
			[]string{"question mark"},
		},
		"an unknown api-version": {
			func(world) login { return login{username: resource + "/api-version=1"} }, []string{"api-version"},
		},
		"no api-version": {func(world) login { return login{username: resource} }, []string{"api-version"}},
		"a newer api-version": {
			func(world) login { return login{username: resource + "/api-version=2025-07-01-preview"} }, nil,
		},
		"a bad escape": {func(world) login {
			return login{username: resource + "/api-version=2019-03-31&ClientVersion=%zz"}
		}, []string{"percent-encoded"}},
		"a dash in front":  {func(world) login { return login{device: "-dev1"} }, []string{"registration ID"}},
		"a dash behind":    {func(world) login { return login{device: "dev1-"} }, []string{"registration ID"}},
		"a capital letter": {func(world) login { return login{device: "Dev1"} }, []string{"registration ID"}},
		"a colon":          {func(world) login { return login{device: "dev:1"} }, []string{"registration ID"}},
		"128 characters":   {func(world) login { return login{device: strings.Repeat("d", 128)} }, nil},
		"the scope as its sr": {
			func(w world) login { return login{sas: w.dpsToken(w.IDScope(), "&skn=registration")} }, nil,
		},
		"an sr in lower case": {
			func(w world) login { return login{sas: w.dpsToken(strings.ToLower(resource), "&skn=registration")} }, nil,
		},
		"a field that is more": {
			func(w world) login { return login{sas: w.dpsToken(resource, "&skn=registration&x=y")} },
			[]string{"a field other than"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			notes := notedInBubble(t, func(t *testing.T, w world) { w.mustConnect(c.login(w)) })
			wantNotes(t, notes, c.notes...)
		})
	}
}

func TestARegistrationIDEndsWithALetterADigitOrADash(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		for _, id := range []string{
			"dev1.", "dev1_", "dev1:", "dev 1", "dev/1", "zürich", "", strings.Repeat("d", 129),
		} {
			if err := w.Enroll(id, ""); err == nil {
				t.Errorf("%q was enrolled", id)
			}
		}
	})
}

func TestAHubAcceptsLoginsThatNoDocumentForbids(t *testing.T) {
	signed := func(w world, resource, more string) string {
		return sas(resource, deviceKey(w.Cloud, device), time.Now().Add(time.Hour), more)
	}
	username := func(more string) func(w world) login {
		return func(w world) login { return login{username: w.Hub("A") + "/dev1" + more} }
	}
	for name, c := range map[string]struct {
		login func(w world) login
		notes []string
	}{
		"no question mark":          {username("/api-version=2021-04-12"), []string{"question mark"}},
		"no api-version":            {username("/?x=y"), []string{"api-version"}},
		"nothing behind the device": {username(""), []string{"api-version"}},
		"an old api-version for a model": {
			username("/?api-version=2019-10-01&model-id=dtmi%3Aa%3B1"),
			[]string{"named its model under an api-version older"}},
		"a model that is no dtmi": {username("/?api-version=2021-04-12&model-id=urn%3Aa"), []string{"not a dtmi"}},
		"a space that is not encoded": {
			username("/?api-version=2021-04-12&DeviceClientType=a b"), []string{"percent-encoded"}},
		"the host as the token's sr": {func(w world) login { return login{sas: signed(w, w.Hub("A"), "")} }, nil},
		"all devices as its sr": {
			func(w world) login { return login{sas: signed(w, w.Hub("A")+"/devices", "")} }, nil,
		},
		"an sr that goes on": {func(w world) login {
			return login{sas: signed(w, w.Hub("A")+"/devices/dev1/api-version=2016-11-14", "")}
		}, nil},
		"an sr in another case": {
			func(w world) login { return login{sas: signed(w, w.Hub("A")+"/devices/DEV1", "")} }, nil,
		},
		"an skn that is empty": {
			func(w world) login { return login{sas: signed(w, w.Hub("A")+"/devices/dev1", "&skn=")} }, nil,
		},
		"a field that is more": {
			func(w world) login { return login{sas: signed(w, w.Hub("A")+"/devices/dev1", "&x=y")} },
			[]string{"a field other than"},
		},
		"what a Go client in use sends": {func(w world) login { // amenzhinsky/iothub
			return login{
				username: w.Hub("A") + "/dev1/api-version=2020-09-30&model-id=dtmi%3Aa%3B1",
				sas:      signed(w, w.Hub("A"), ""),
			}
		}, []string{"question mark"}},
		"no question mark, and a slash": {
			username("/api-version=2021-04-12&DeviceClientType=a/1"), []string{"question mark"}},
		"something else behind the device": {username("/nonsense"), []string{"question mark", "api-version"}},
		"a hub without its port": {func(w world) login {
			return login{
				username: "127.0.0.1/dev1/?api-version=2021-04-12", sas: signed(w, "127.0.0.1/devices/dev1", ""),
			}
		}, []string{"called the hub 127.0.0.1 and not 127.0.0.1:"}},
		"a token for the hub without its port": {
			func(w world) login { return login{sas: signed(w, "127.0.0.1/devices/dev1", "")} },
			[]string{"called the hub"},
		},
		"a will for elsewhere": {
			func(world) login { return login{will: "devices/dev2/messages/events/"} }, []string{"will not be stored"},
		},
		"what documents describe": {username("/?api-version=2021-04-12&DeviceClientType=a%2F1"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			notes := notedInBubble(t, func(t *testing.T, w world) {
				l := c.login(w)
				l.hub = "A"
				w.mustConnect(l)
			})
			wantNotes(t, notes, c.notes...)
		})
	}
}

func TestADeviceIDFollowsTheHubsRules(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		for _, id := range []string{"Dev1", "-:.%_*?!(),=@;$'", strings.Repeat("d", 128), "."} {
			p := w.mustConnect(login{hub: "A", device: id})
			p.mustPublish("devices/"+id+"/messages/events/", "1")
		}
		for _, id := range []string{"", "a b", "a/b", "a~b", "zürich", strings.Repeat("d", 129)} {
			if err := w.Assign(id, "A"); err == nil {
				t.Errorf("%q was assigned", id)
			}
		}
		w.wantNoViolation()
	})
}

func TestAPayloadThatIsAStringNamesTheModelToo(t *testing.T) {
	for payload, want := range map[string]string{
		`{"modelId":"dtmi:Sample:Failover;1"}`:                 "dtmi:Sample:Failover;1",
		`"{\"modelId\":\"dtmi:Sample:Failover;1\"}"`:           "dtmi:Sample:Failover;1",
		`"{\"iotcModelId\": \"dtmi:Sample:Failover;1\"}"`:      "dtmi:Sample:Failover;1",
		`"dtmi:Sample:Failover;1"`:                             "",
		`"\"{\\\"modelId\\\":\\\"dtmi:Sample:Failover;1\\\"}"`: "",
		`"{\"modelId\":7}"`:                                    "",
		`null`:                                                 "",
		`7`:                                                    "",
		`[{"modelId":"dtmi:Sample:Failover;1"}]`:               "",
	} {
		notes := notedInBubble(t, func(t *testing.T, w world) {
			topic, _ := w.connectDPS(login{}).request(fmt.Sprintf(putTopic, 1),
				`{"registrationId":"dev1","payload":`+payload+`}`)
			if !strings.Contains(topic, "/res/202/") {
				t.Errorf("%s got %s", payload, topic)
			}
			if d, err := w.Device(device); err != nil || d.Model != want {
				t.Errorf("%s: the model is %q, %v", payload, d.Model, err)
			}
			if got := string(w.RegistrationPayload(device)); got != payload {
				t.Errorf("%s is kept as %s", payload, got)
			}
		})
		if payload[0] == '{' || payload == "null" {
			wantNotes(t, notes)
		} else {
			wantNotes(t, notes, "not a JSON object")
		}
	}
}

func TestARegistrationMayHaveABodyThatNoDocumentForbids(t *testing.T) {
	for body, note := range map[string][]string{
		`{"registrationId":"dev1"}`:                                  nil,
		`{"registrationId":"DEV1"}`:                                  nil, // IDs are case-insensitive
		`{"registrationId":"dev1","csr":"MII"}`:                      {"sent csr"},
		`{"registrationId":"dev1","tpm":{}}`:                         {"sent tpm"},
		`{"payload":{}}`:                                             {"left the registrationId out"},
		`{"registrationId":"dev2"}`:                                  {"another registrationId"},
		`{"registrationId":"a","registrationId":"dev1"}`:             {"a name that occurs twice"},
		`{"registrationId":"dev1","payload":{"a":1,"a":2}}`:          {"a name that occurs twice"},
		`{"registrationId":"dev1","payload":{"a":"\ud800 is half"}}`: {"half of a surrogate pair"},
	} {
		notes := notedInBubble(t, func(t *testing.T, w world) {
			if topic, answer := w.connectDPS(login{}).request(fmt.Sprintf(putTopic, 1), body); !strings.Contains(topic,
				"/res/202/") {
				t.Errorf("%s got %s %s", body, topic, answer)
			}
		})
		wantNotes(t, notes, note...)
	}
}

func TestTelemetryThatNoDocumentForbidsIsStored(t *testing.T) {
	for topic, c := range map[string]struct {
		properties map[string]string
		note       string
	}{
		"devices/dev1/messages/events": {map[string]string{}, "a topic without the slash"},
		events + "a=1&":                {map[string]string{"a": "1"}, "a property without a name"},
		events + "a=1&=2":              {map[string]string{"a": "1"}, "a property without a name"},
		events + "a=%ff&b=2":           {map[string]string{"a": "%ff", "b": "2"}, "a property that is not UTF-8"},
		events + "%ff=a":               {map[string]string{"%ff": "a"}, "a property that is not UTF-8"},
		events + "LWT":                 {map[string]string{"LWT": ""}, ""},
		events + "$.mid=" + strings.Repeat("m", 129): {
			map[string]string{"$.mid": strings.Repeat("m", 129)}, "a message ID of more than 128 characters",
		},
	} {
		notes := notedInBubble(t, func(t *testing.T, w world) {
			w.mustConnect(login{hub: "A"}).mustPublish(topic, "1")
			if ledger := w.Ledger(); len(ledger) != 1 || !maps.Equal(ledger[0].Properties, c.properties) {
				t.Errorf("%s is stored as %+v", topic, ledger)
			}
		})
		if c.note == "" {
			wantNotes(t, notes)
		} else {
			wantNotes(t, notes, c.note)
		}
	}
}

func TestAWillThatIsNotTelemetryIsNotStored(t *testing.T) {
	notedInBubble(t, func(t *testing.T, w world) {
		w.mustConnect(login{hub: "A", will: "devices/dev2/messages/events/"})
		w.mustConnect(login{hub: "A"}) // takes over
		if n := len(w.Ledger()); n != 0 {
			t.Errorf("%d messages are stored", n)
		}
	})
}

func TestAMethodsAnswerThatIsNotJSONIsAnErrorOfTheCaller(t *testing.T) {
	for _, body := range []string{"{", "{'a': 1}", "\"\xff\"", "{}\x00"} {
		notes := notedInBubble(t, func(t *testing.T, w world) {
			p := w.mustConnect(login{hub: "A"})
			p.mustSubscribe("$iothub/methods/POST/#")
			time.AfterFunc(time.Second, func() { p.Publish("$iothub/methods/res/200/?$rid=1", 0, false, body) })
			if _, answer, err := w.InvokeMethod(t.Context(), device, "m", nil); !errors.Is(err, emulator.ErrNotJSON) {
				t.Errorf("%q: %q, %v", body, answer, err)
			}
			p.mustPublish(events, "still connected")
		})
		wantNotes(t, notes, "answered a method with a body that is not JSON")
	}
}

func TestAskingForACertificateIsIgnored(t *testing.T) {
	notes := notedInBubble(t, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/credentials/res/#")
		p.mustPublish("$iothub/credentials/POST/issueCertificate/?$rid=1", `{"id":"dev1","csr":"MII"}`)
		if got := p.topics(); len(got) > 0 {
			t.Errorf("the answer is %q", got)
		}
	})
	wantNotes(t, notes, "asked for a certificate")
}

func TestAMessageIDThatTheDocumentsDoNotAllowIsStoredAndNotedOnce(t *testing.T) {
	notes := notedInBubble(t, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		for _, id := range []string{
			"a%20b", "z%C3%BC", "-%3A.%2B%25_%23%2A%3F%21%28%29%2C%3D%40%3B%24%27", strings.Repeat("%C3%BC", 128),
		} {
			p.mustPublish(events+"$.mid="+id, "1")
		}
		if n := len(w.Ledger()); n != 4 {
			t.Errorf("%d messages were stored", n)
		}
	})
	wantNotes(t, notes, "dev1 at hub A sent a message ID with a character")
}

func TestPropertiesThatTheDocumentsDoNotDescribeAreNoted(t *testing.T) {
	arrays := strings.Repeat("[", 11) + strings.Repeat("]", 11)
	for patch, want := range map[string]string{
		`{"":1}`:               "a name that is empty",
		`{"a":1e999}`:          "a number that a 64-bit float cannot hold",
		`{"a":[null]}`:         "a null in an array",
		`{"a":1,"a":2}`:        "a name that occurs twice",
		`{"a":"\udc00"}`:       "a name that occurs twice in one object, or half of a surrogate pair",
		`{"a":` + arrays + `}`: "a depth of more than 10",
	} {
		notes := notedInBubble(t, func(t *testing.T, w world) {
			p := w.mustConnect(login{hub: "A"})
			p.mustSubscribe("$iothub/twin/res/#")
			for range 2 {
				if topic, body := p.request(report+"1", patch); !strings.Contains(topic, "/res/204/") {
					t.Errorf("%s got %s %s", patch, topic, body)
				}
			}
			if _, reported, _, version := w.Twin(device); len(reported) != 1 || version != 3 {
				t.Errorf("%s is kept as %v, version %d", patch, reported, version)
			}
		})
		wantNotes(t, notes, "dev1 at hub A reported properties with "+want)
	}
	notes := notedInBubble(t, func(t *testing.T, w world) {
		w.Enroll(device, "")
		if err := w.SetDesired(device, map[string]any{"": 1}); err != nil {
			t.Error(err)
		}
	})
	wantNotes(t, notes, "dev1 was given desired properties with a name that is empty")
}

func TestControlCharactersDoNotCountInTheSizeOfATwin(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/twin/res/#")
		for i := range 8 { // each counts 4096 with its name, so all together count 32 KB
			text := strings.Repeat("t", 4095) + `\n`
			if topic, body := p.request(report+"1", fmt.Sprintf(`{"%d":"%s"}`, i, text)); !strings.Contains(topic,
				"/res/204/") {
				t.Errorf("property %d: %s %s", i+1, topic, body)
			}
		}
	})
}

func TestADeviceMaySubscribeToOneMethod(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/methods/POST/reboot/#")
		time.AfterFunc(time.Second, func() { p.Publish("$iothub/methods/res/200/?$rid=1", 0, false, "") })
		if status, _, err := w.InvokeMethod(t.Context(), device, "reboot", nil); status != 200 || err != nil {
			t.Errorf("%d %v", status, err)
		}
		if _, _, err := w.InvokeMethod(t.Context(), device, "reboots", nil); err == nil {
			t.Error("another method was called")
		}
		w.wantNoViolation()
	})
}

func TestAMessagePropertyWithUndocumentedCharactersIsSentAndNoted(t *testing.T) {
	for value, note := range map[string][]string{"plain~value": nil, "a b": {"dev1 was sent a message"}} {
		notes := notedInBubble(t, func(t *testing.T, w world) {
			w.mustConnect(login{hub: "A"})
			for range 2 {
				if err := w.SendMessage(device,
					emulator.Message{Properties: map[string]string{"p": value}}); err != nil {
					t.Error(err)
				}
			}
		})
		wantNotes(t, notes, note...)
	}
}
