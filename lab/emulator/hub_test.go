package emulator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

const events = "devices/dev1/messages/events/"

var fourFilters = []string{
	"devices/dev1/messages/devicebound/#", "$iothub/methods/POST/#",
	"$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#",
}

func TestAHubRefusesBadLogins(t *testing.T) {
	token := func(w world, resource, more string) login {
		return login{sas: sas(resource, deviceKey(w.Cloud, device), time.Now().Add(time.Hour), more)}
	}
	for name, c := range map[string]struct {
		login func(w world) login
		code  byte
	}{
		"another key": {func(w world) login {
			return login{sas: sas(w.Hub("A")+"/devices/dev1", []byte("x"), time.Now().Add(time.Hour), "")}
		}, 5},
		"an expired token":       {func(world) login { return login{tokenLife: -time.Second} }, 5},
		"the other hub's token":  {func(w world) login { return token(w, w.Hub("B")+"/devices/dev1", "") }, 5},
		"another device's token": {func(w world) login { return token(w, w.Hub("A")+"/devices/dev2", "") }, 5},
		"a policy in the token": {
			func(w world) login { return token(w, w.Hub("A")+"/devices/dev1", "&skn=registration") }, 5,
		},
		"a field given twice": {func(w world) login { return token(w, w.Hub("A")+"/devices/dev1", "&se=1") }, 5},
		"half a segment":      {func(w world) login { return token(w, w.Hub("A")+"/devices/de", "") }, 5},
		"no token":            {func(world) login { return login{sas: "secret"} }, 5},
		"an unknown device":   {func(world) login { return login{device: "dev2"} }, 5},
		"another hub's name": {
			func(w world) login { return login{username: w.Hub("B") + "/dev1/?api-version=2021-04-12"} }, 5,
		},
		"another client ID": {func(world) login { return login{clientID: "dev2"} }, 4},
		"a module": {
			func(w world) login {
				return login{clientID: "dev1/m1", username: w.Hub("A") + "/dev1/m1/?api-version=2021-04-12"}
			}, 5,
		},
		"no device": {
			func(w world) login { return login{username: w.Hub("A") + "/?api-version=2021-04-12"} }, 4,
		},
		"a space in the ID": {
			func(w world) login {
				return login{clientID: "dev 1", username: w.Hub("A") + "/dev 1/?api-version=2021-04-12"}
			}, 5,
		},
		"MQTT 3.1 and not 3.1.1": {func(world) login { return login{version: 3} }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				w.Assign(device, "A")
				l := c.login(w)
				l.hub = "A"
				if code := w.refusal(l); code != c.code {
					t.Errorf("CONNACK %d, want %d", code, c.code)
				}
				if broken := len(w.Violations()) > 0; broken != (c.code != 5) {
					t.Errorf("violations: %q", w.Violations())
				}
				if w.Connects(device, "A") != 0 {
					t.Error("it counts as connected")
				}
			})
		})
	}
}

// Microsoft's SDK for Node and its samples do not encode the model ID.
func TestAModelIDNeedsNoEncoding(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustConnect(login{hub: "A", username: w.Hub("A") +
			"/dev1/?api-version=2021-04-12&model-id=dtmi:Sample:Failover;1&DeviceClientType=a%2F1"})
		w.wantNoViolation()
	})
}

func TestTheHostInATokenIsCaseInsensitive(t *testing.T) {
	inBubble(t, emulator.Config{Host: "localhost"}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		host := strings.ToUpper(w.Hub("A"))
		w.mustConnect(login{
			hub: "A", username: host + "/dev1/?api-version=2020-09-30",
			sas: sas(host+"/devices/dev1", deviceKey(w.Cloud, device), time.Now().Add(time.Hour), ""),
		})
		w.wantNoViolation()
	})
}

func TestARefusalHasAReasonAndContainsNoKey(t *testing.T) {
	var refusals []emulator.Event
	observe := func(e emulator.Event) { refusals = append(refusals, e) }
	inBubble(t, emulator.Config{Observe: observe}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		w.refusal(login{hub: "A", tokenLife: -time.Minute})
		w.Close()
		i := slices.IndexFunc(refusals, func(e emulator.Event) bool { return e.Kind == emulator.KindRefused })
		if i < 0 || refusals[i].Text != "CONNACK 5: the token expired 1m0s ago" || refusals[i].Hub != "A" ||
			refusals[i].Device != device {
			t.Errorf("the refusals are %+v", refusals)
		}
		for _, e := range refusals {
			if strings.Contains(e.Text, "sig=") || strings.Contains(e.Text, "SharedAccess") {
				t.Errorf("a token in %q", e.Text)
			}
		}
	})
}

// Tests count connection attempts by these events.
func TestEachRefusedAttemptEmitsOneEvent(t *testing.T) {
	var refusals []emulator.Event
	observe := func(e emulator.Event) { refusals = append(refusals, e) }
	inBubble(t, emulator.Config{Observe: observe}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		w.refusal(login{hub: "A", tokenLife: -time.Minute})
		w.refusal(login{hub: "A", username: "nonsense"})
		for _, fault := range []emulator.Fault{emulator.Refuse, emulator.Reject} {
			if err := w.Inject("A", fault, emulator.Params{}); err != nil {
				t.Fatal(err)
			}
			w.refusal(login{hub: "A"})
			if err := w.Clear("A", fault); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		var why []string
		for _, e := range refusals {
			if e.Kind == emulator.KindRefused || e.Kind == emulator.KindConnected {
				why = append(why, e.Text)
			}
		}
		if len(why) != 4 {
			t.Errorf("the events of four attempts are %q", why)
		}
	})
}

func TestAHubClosesConnectionsThatBreakARule(t *testing.T) {
	publish := func(topic string, qos byte, body any) func(p *peer) {
		return func(p *peer) { p.Publish(topic, qos, false, body) }
	}
	for name, c := range map[string]struct {
		do   func(p *peer)
		part string
	}{
		"QoS 2":                      {publish(events, 2, "x"), "QoS 2"},
		"an unknown topic":           {publish("telemetry", 1, "x"), "not a documented topic"},
		"another device's topic":     {publish("devices/dev2/messages/events/", 1, "x"), "not a documented topic"},
		"a topic that begins alike":  {publish("devices/dev1/messages/eventsX", 1, "x"), "not a documented topic"},
		"a bad property bag":         {publish(events+"a=%zz", 1, "x"), "bad property bag"},
		"a wildcard in a topic":      {publish(events+"a=1+1", 1, "x"), "not a topic name"},
		"more than 256 KB":           {publish(events, 1, make([]byte, 256<<10+1)), "262145 bytes"},
		"a packet beyond all limits": {publish(events, 1, make([]byte, 1<<20)), "a packet of more than"},
		"an unknown filter":          {func(p *peer) { p.Subscribe("#", 1, nil) }, "not a documented topic filter"},
		"another device's messages": {
			func(p *peer) { p.Subscribe("devices/dev2/messages/devicebound/#", 1, nil) },
			"not a documented topic filter",
		},
		"a method answer off its topic": {publish("$iothub/methods/res/ok/?$rid=1", 0, "{}"), "answered a method on"},
		"a method answer without rid":   {publish("$iothub/methods/res/200/", 0, "{}"), "answered a method on"},
		"a twin request without rid":    {publish("$iothub/twin/GET/?", 0, ""), "without a $rid"},
		"a twin report without rid": {
			publish("$iothub/twin/PATCH/properties/reported/?", 0, "{}"), "without a $rid",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A"})
				c.do(p)
				p.mustLose(time.Second)
				w.wantViolation(c.part)
				if n := len(w.Ledger()); n != 0 {
					t.Errorf("%d messages stored", n)
				}
			})
		})
	}
}

func TestASixthSubscriptionEndsTheConnection(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(fourFilters...)
		p.mustSubscribe("$iothub/credentials/res/#")
		p.mustSubscribe(fourFilters...) // a repeated filter is not a sixth one
		p.Subscribe("$iothub/more/#", 1, nil)
		p.mustLose(time.Second)
		w.wantViolation("a sixth subscription")
	})
}

func TestASubscriptionAtQoS2IsGrantedQoS1(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		token := p.Subscribe("$iothub/twin/res/#", 2, nil)
		token.Wait()
		if granted := token.(interface{ Result() map[string]byte }).Result()["$iothub/twin/res/#"]; granted != 1 {
			t.Errorf("granted %d", granted)
		}
	})
}

func TestASecondConnectionOfADeviceTakesOver(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		first := w.mustConnect(login{hub: "A"})
		second := w.mustConnect(login{hub: "A"})
		first.mustLose(time.Second)
		second.mustPublish(events, "still here")
		if w.Connects(device, "A") != 2 {
			t.Errorf("%d connects", w.Connects(device, "A"))
		}
		w.wantNoViolation()
	})
}

func TestASessionKeepsItsSubscriptionsOnlyWithoutCleanSession(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(fourFilters[:2]...)
		p.close()
		want := []string{fourFilters[1], fourFilters[0]}
		if got := w.Subscriptions(device, "A"); !slices.Equal(got, want) {
			t.Errorf("after the end: %q", got)
		}
		p = w.mustConnect(login{hub: "A"})
		if got := w.Subscriptions(device, "A"); !slices.Equal(got, want) || !p.present {
			t.Errorf("resumed: %q, session present: %t", got, p.present)
		}
		p.Unsubscribe(fourFilters[0]).Wait()
		if got := w.Subscriptions(device, "A"); !slices.Equal(got, want[:1]) {
			t.Errorf("unsubscribed: %q", got)
		}
		p.close()
		p = w.mustConnect(login{hub: "A", clean: true})
		if got := w.Subscriptions(device, "A"); len(got) != 0 || p.present {
			t.Errorf("cleaned: %q, session present: %t", got, p.present)
		}
	})
}

func TestASilentClientIsDroppedAfterOneAndAHalfKeepAlives(t *testing.T) {
	for name, c := range map[string]struct{ keepAlive, want time.Duration }{
		"odd seconds":      {5 * time.Second, 7500 * time.Millisecond},
		"none":             {0, 1767 * time.Second},
		"beyond the limit": {18 * time.Hour, 1767 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				raw := w.rawConnect(c.keepAlive)
				start := time.Now()
				if _, err := raw.Read(make([]byte, 1)); err == nil {
					t.Error("the hub said something")
				}
				if took := time.Since(start); took != c.want {
					t.Errorf("dropped after %v, want %v", took, c.want)
				}
			})
		})
	}
}

func TestAClientThatPingsStays(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", keepAlive: 6 * time.Second, tokenLife: 100 * time.Hour})
		time.Sleep(24 * time.Hour)
		p.mustPublish(events, "good morning")
		w.wantNoViolation()
	})
}

func TestAConnectionOutlivesItsTokenByTheGraceOnly(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		start := time.Now()
		p := w.mustConnect(login{hub: "A", keepAlive: time.Minute, tokenLife: time.Hour})
		p.mustLose(2 * time.Hour)
		if took := time.Since(start); took < 70*time.Minute || took > 70*time.Minute+time.Second {
			t.Errorf("cut after %v", took)
		}
	})
}

func TestAWillIsTelemetryUnlessTheClientSendsDISCONNECT(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		will := login{hub: "A", will: events + "kind=test"}
		w.mustConnect(will).close()
		w.mustConnect(will)
		w.mustConnect(login{hub: "A"}) // takes over
		ledger := w.Ledger()
		if len(ledger) != 1 {
			t.Fatalf("%d messages", len(ledger))
		}
		if p := ledger[0].Properties; p["iothub-MessageType"] != "Will" || p["kind"] != "test" ||
			string(ledger[0].Body) != "gone" {
			t.Errorf("stored %+v", ledger[0])
		}
	})
}
