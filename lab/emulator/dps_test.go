package emulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

const (
	putTopic = "$dps/registrations/PUT/iotdps-register/?$rid=%d"
	getTopic = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=%d&operationId=%s"
)

func (w world) connectDPS(l login) *peer {
	w.Helper()
	p := w.mustConnect(l)
	p.mustSubscribe("$dps/registrations/res/#")
	return p
}

// request publishes a request and returns the topic and body of its answer.
func (p *peer) request(topic, body string) (string, string) {
	p.Helper()
	before := len(p.messages())
	p.mustPublish(topic, body)
	received := p.messages()
	if len(received) != before+1 {
		p.Fatalf("%s: %d answers", topic, len(received)-before)
	}
	last := received[len(received)-1]
	return last.Topic(), string(last.Payload())
}

func (p *peer) register(rid int) (topic, operation string) {
	p.Helper()
	topic, body := p.request(fmt.Sprintf(putTopic, rid),
		`{"registrationId":"dev1","payload":{"modelId":"dtmi:Sample:Failover;1"}}`)
	operation, _ = object(p.T, body)["operationId"].(string)
	return topic, operation
}

func TestRegistrationAnswers202UntilRetryAfterAnd200WithTheHub(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		topic, operation := p.register(1)
		if topic != "$dps/registrations/res/202/?$rid=1&retry-after=3" || operation == "" {
			t.Fatalf("registering got %s with operation %q", topic, operation)
		}
		time.Sleep(2 * time.Second)
		if topic, _ := p.request(fmt.Sprintf(getTopic, 2, operation),
			""); topic != "$dps/registrations/res/202/?$rid=2&retry-after=3" {
			t.Errorf("a poll too early got %s", topic)
		}
		time.Sleep(time.Second)
		topic, body := p.request(fmt.Sprintf(getTopic, 3, operation), " ")
		if topic != "$dps/registrations/res/200/?$rid=3" {
			t.Errorf("the last poll got %s", topic)
		}
		state, _ := object(t, body)["registrationState"].(map[string]any)
		if state["assignedHub"] != w.Hub("A") || state["deviceId"] != device ||
			state["substatus"] != "initialAssignment" {
			t.Errorf("the assignment is %v", state)
		}
		if w.HubOf(device) != "A" || w.Registrations(device) != 1 {
			t.Errorf("hub %q after %d requests", w.HubOf(device), w.Registrations(device))
		}
		if payload := string(w.RegistrationPayload(device)); payload != `{"modelId":"dtmi:Sample:Failover;1"}` {
			t.Errorf("the payload is %s", payload)
		}
		w.wantNoViolation()
	})
}

func TestRetryAfterIsInWholeSeconds(t *testing.T) {
	inBubble(t, emulator.Config{RetryAfter: 1200 * time.Millisecond}, func(t *testing.T, w world) {
		if topic, _ := w.connectDPS(login{}).register(1); !strings.HasSuffix(topic, "retry-after=2") {
			t.Errorf("got %s", topic)
		}
	})
}

func TestDPSRefusesBadLogins(t *testing.T) {
	resource := emulator.DevelopmentIDScope + "/registrations/dev1"
	for name, c := range map[string]struct {
		login func(w world) login
		code  byte
	}{
		"a key that is not derived": {func(world) login {
			return login{sas: sas(resource, []byte("other"), time.Now().Add(time.Hour), "&skn=registration")}
		}, 5},
		"an expired token": {func(world) login { return login{tokenLife: -time.Second} }, 5},
		"another skn": {func(w world) login {
			return login{sas: sas(resource, deviceKey(w.Cloud, device), time.Now().Add(time.Hour), "&skn=iothubowner")}
		}, 5},
		"an skn twice": {func(w world) login {
			return login{sas: sas(resource, deviceKey(w.Cloud, device), time.Now().Add(time.Hour),
				"&skn=registration&skn=")}
		}, 5},
		"another device's token": {func(w world) login {
			return login{sas: sas(resource+"2", deviceKey(w.Cloud, device), time.Now().Add(time.Hour),
				"&skn=registration")}
		}, 5},
		"another client ID": {func(world) login { return login{clientID: "dev2"} }, 4},
		"another path": {func(world) login {
			return login{username: emulator.DevelopmentIDScope + "/devices/dev1/api-version=2019-03-31"}
		}, 4},
		"no ID scope": {
			func(world) login { return login{username: "/registrations/dev1/api-version=2019-03-31"} }, 4,
		},
		"a bad registration ID":   {func(world) login { return login{device: "dev1."} }, 4},
		"MQTT 3.1 and not 3.1.1":  {func(world) login { return login{version: 3} }, 1},
		"no user name in its way": {func(world) login { return login{username: "dev1"} }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				if code := w.refusal(c.login(w)); code != c.code {
					t.Errorf("CONNACK %d, want %d", code, c.code)
				}
				if broken := len(w.Violations()) > 0; broken != (c.code != 5) {
					t.Errorf("violations: %q", w.Violations())
				}
			})
		})
	}
}

func TestAnIndividualEnrollmentHasItsOwnKey(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		if err := w.Enroll(device, "b3duIGtleQ=="); err != nil { // "own key"
			t.Fatal(err)
		}
		if code := w.refusal(login{}); code != 5 {
			t.Errorf("the group's key got CONNACK %d", code)
		}
		token := sas(w.IDScope()+"/registrations/dev1", []byte("own key"), time.Now().Add(time.Hour),
			"&skn=registration")
		w.mustConnect(login{sas: token})
	})
}

func TestAnUnknownIDScopeIsNotFound(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		resource := "0neOTHER/registrations/dev1"
		token := sas(resource, deviceKey(w.Cloud, device), time.Now().Add(time.Hour), "&skn=registration")
		p := w.connectDPS(login{username: resource + "/api-version=2019-03-31", sas: token})
		topic, body := p.request(fmt.Sprintf(putTopic, 1), `{"registrationId":"dev1"}`)
		if topic != "$dps/registrations/res/404/?$rid=1" || object(t, body)["errorCode"] != 404201.0 {
			t.Errorf("got %s %s", topic, body)
		}
	})
}

func TestAModelIDOutsideThePayloadIs400012(t *testing.T) {
	for name, body := range map[string]string{
		"a model ID at the top level": `{"registrationId":"dev1","modelId":"dtmi:Sample:Failover;1"}`,
		"no JSON":                     `registrationId`,
		"no body":                     ``,
		"text that is not UTF-8":      "{\"registrationId\":\"dev1\",\"payload\":\"\xff\"}",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				topic, answer := w.connectDPS(login{}).request(fmt.Sprintf(putTopic, 7), body)
				if topic != "$dps/registrations/res/400/?$rid=7" || object(t, answer)["errorCode"] != 400012.0 {
					t.Errorf("got %s %s", topic, answer)
				}
				w.wantViolation("register request")
			})
		})
	}
}

func TestPollingFasterThanFiveTimesInTenSecondsIs429(t *testing.T) {
	inBubble(t, emulator.Config{RetryAfter: time.Minute}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		_, operation := p.register(0)
		for i := range 6 {
			topic, _ := p.request(fmt.Sprintf(getTopic, i, operation), "")
			if throttled := strings.Contains(topic, "/res/429/"); throttled != (i == 5) {
				t.Errorf("poll %d got %s", i+1, topic)
			}
			if i == 5 && !strings.HasSuffix(topic, "&retry-after=60") {
				t.Errorf("no retry-after in %s", topic)
			}
		}
		time.Sleep(10 * time.Second)
		if topic, _ := p.request(fmt.Sprintf(getTopic, 9, operation), ""); !strings.Contains(topic, "/res/202/") {
			t.Errorf("after the window: %s", topic)
		}
		w.wantViolation("polled more than 5 times in 10s")
	})
}

func TestDPSClosesConnectionsThatUseOtherTopics(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *peer)
		part string
	}{
		"a foreign filter": {func(p *peer) { p.Subscribe("$dps/#", 1, nil) }, "subscribed to"},
		"a foreign topic": {
			func(p *peer) { p.Publish("devices/dev1/messages/events/", 1, false, "") }, "not a topic of DPS",
		},
		"no $rid": {
			func(p *peer) { p.Publish("$dps/registrations/PUT/iotdps-register/?", 1, false, "{}") }, "no $rid",
		},
		"QoS 2": {func(p *peer) { p.Publish(fmt.Sprintf(putTopic, 1), 2, false, "{}") }, "QoS 2"},
		"more than 96 KB": {
			func(p *peer) { p.Publish(fmt.Sprintf(putTopic, 1), 1, false, make([]byte, 96<<10+1)) }, "98305 bytes",
		},
		"a wildcard topic": {func(p *peer) { p.Publish("$dps/+", 1, false, "") }, "not a topic name"},
		"an oversize packet": {
			func(p *peer) { p.Publish(fmt.Sprintf(putTopic, 1), 1, false, make([]byte, 400<<10)) }, "packet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{clean: true})
				c.do(p)
				p.mustLose(time.Second)
				w.wantViolation(c.part)
			})
		})
	}
}

func TestDPSFaults(t *testing.T) {
	for fault, want := range map[emulator.Fault]string{
		emulator.DPSThrottles:    "/res/429/?$rid=1&retry-after=3",
		emulator.DPSUnavailable:  "/res/503/?$rid=1",
		emulator.DPSUnauthorized: "/res/401/?$rid=1",
		emulator.DPSForbids:      "/res/403/?$rid=1",
		emulator.DPSForgets:      "/res/404/?$rid=1",
	} {
		t.Run(string(fault), func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				if err := w.BreakDPS(fault); err != nil {
					t.Fatal(err)
				}
				p := w.connectDPS(login{})
				if topic, _ := p.register(1); !strings.HasSuffix(topic, want) {
					t.Errorf("got %s, want %s", topic, want)
				}
				w.BreakDPS(emulator.DPSHealthy)
				if topic, _ := p.register(2); !strings.Contains(topic, "/res/202/") {
					t.Errorf("after Clear: got %s", topic)
				}
			})
		})
	}
}

func TestAnOperationMayEndAsFailedOrDisabled(t *testing.T) {
	for fault, status := range map[emulator.Fault]string{
		emulator.DPSFails: "failed", emulator.DPSDisabled: "disabled",
	} {
		t.Run(status, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				w.BreakDPS(fault)
				p := w.connectDPS(login{})
				_, operation := p.register(1)
				time.Sleep(3 * time.Second)
				_, body := p.request(fmt.Sprintf(getTopic, 2, operation), "")
				if got := object(t, body); got["status"] != status || w.HubOf(device) != "" {
					t.Errorf("got %s, hub %q", body, w.HubOf(device))
				}
			})
		})
	}
}

func TestARegistrationThatNobodyPollsCompletes(t *testing.T) {
	for fault, want := range map[emulator.Fault]string{
		emulator.DPSHealthy: "to hub A", emulator.DPSFails: "the registration ended as failed",
		emulator.DPSDisabled: "the registration ended as disabled",
	} {
		var ends []emulator.Event
		observe := func(e emulator.Event) {
			if e.Kind == emulator.KindAssigned {
				ends = append(ends, e)
			}
		}
		inBubble(t, emulator.Config{Observe: observe}, func(t *testing.T, w world) {
			w.BreakDPS(fault)
			p := w.connectDPS(login{})
			_, operation := p.register(1)
			p.close()
			start := time.Now()
			time.Sleep(3*time.Second - 1)
			if w.HubOf(device) != "" {
				t.Errorf("at hub %s before the time was over", w.HubOf(device))
			}
			time.Sleep(time.Hour)
			d, err := w.Device(device)
			if err != nil || d.Hub != w.HubOf(device) || (d.Hub == "A") != (fault == emulator.DPSHealthy) {
				t.Errorf("%s: the device is %+v, %v", fault, d, err)
			}
			w.BreakDPS(emulator.DPSHealthy) // a result stays as it is
			p = w.connectDPS(login{})
			_, body := p.request(fmt.Sprintf(getTopic, 2, operation), "")
			if status := object(t, body)["status"].(string); !strings.HasSuffix(want, status) &&
				fault != emulator.DPSHealthy {
				t.Errorf("%s: a late poll got %s", fault, body)
			}
			w.Close()
			if len(ends) != 1 || ends[0].Text != want || ends[0].Time.Sub(start) != 3*time.Second {
				t.Errorf("%s: the events are %+v", fault, ends)
			}
		})
	}
}

func TestOnlyTheLastRegistrationOfADeviceCompletes(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		p.register(1)
		time.Sleep(2 * time.Second)
		p.register(2)
		time.Sleep(2 * time.Second)
		if w.HubOf(device) != "" {
			t.Error("the first registration has completed")
		}
		time.Sleep(time.Second + 1)
		if w.HubOf(device) != "A" {
			t.Error("the second registration has not completed")
		}
	})
}

func TestADeletedDeviceIsNotAssigned(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.connectDPS(login{}).register(1)
		if err := w.DeleteDevice(device); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, err := w.Device(device); err == nil || w.HubOf(device) != "" {
			t.Errorf("the device is at %q, %v", w.HubOf(device), err)
		}
	})
}

func TestAStoppedDPSRefusesConnectionsUntilItStarts(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.connectDPS(login{})
		w.StopDPS()
		p.mustLose(time.Second)
		if code := w.refusal(login{}); code != 0xff {
			t.Errorf("CONNACK %d", code)
		}
		if err := w.StartDPS(); err != nil {
			t.Fatal(err)
		}
		w.mustConnect(login{})
	})
}
