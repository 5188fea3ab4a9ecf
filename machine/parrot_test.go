package machine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
)

// A parrot says something that it was told, somewhere in what DPS or a hub says.
type parrot func(p *liar, packet packets.ControlPacket, echo string)

// dpsParrots are wrong from CONNECT (packet nil) or from the request to register on.
var dpsParrots = map[string]parrot{
	"in the place of CONNACK": beforeCONNACK, "behind CONNACK": behindCONNACK,
	"the message of an error": inAnswer(401, func(echo string) any {
		return map[string]any{"errorCode": 401002, "trackingId": echo, "message": "cannot verify " + echo}
	}),
	"the message of a failure": inAnswer(200, func(echo string) any {
		return map[string]any{"status": "failed",
			"registrationState": map[string]any{"errorCode": 400207, "errorMessage": echo}}
	}),
	"the state": inAnswer(200,
		func(echo string) any { return map[string]any{"operationId": echo, "status": echo} }),
	"the assigned hub":  inAnswer(200, func(echo string) any { return assignment(echo, deviceID, "") }),
	"the device's ID":   inAnswer(200, func(echo string) any { return assignment("hub.example:8883", echo, "") }),
	"the substatus":     inAnswer(200, func(echo string) any { return assignment("hub.example:8883", deviceID, echo) }),
	"what is no answer": inAnswer(200, func(echo string) any { return echo }),
	"the topic": func(p *liar, packet packets.ControlPacket, echo string) {
		if _, ok := packet.(*packets.PublishPacket); ok {
			p.pub("$dps/registrations/res/"+echo+"/?$rid="+echo, "{}", 0, 0)
		}
	},
}

func assignment(hub, device, substatus string) map[string]any {
	return map[string]any{"status": "assigned",
		"registrationState": map[string]any{"assignedHub": hub, "deviceId": device, "substatus": substatus}}
}

func inAnswer(status int, body func(echo string) any) parrot {
	return func(p *liar, packet packets.ControlPacket, echo string) {
		if m, ok := packet.(*packets.PublishPacket); ok {
			text, _ := json.Marshal(body(echo))
			p.pub(fmt.Sprintf("$dps/registrations/res/%d/?$rid=%s", status, requestID(m)), string(text), 0, 0)
		}
	}
}

// hubParrots are wrong from CONNECT on or when the device asks for its twin.
var hubParrots = map[string]parrot{
	"in the place of CONNACK": beforeCONNACK, "behind CONNACK": behindCONNACK,
	"the message of a twin's error": withTwin(func(p *liar, rid, echo string) {
		text, _ := json.Marshal(map[string]any{"errorCode": 400013, "trackingId": echo, "message": "cannot verify " +
			echo})
		p.pub("$iothub/twin/res/400/?$rid="+rid, string(text), 0, 0)
	}),
	"what is no twin": withTwin(func(p *liar, rid,
		echo string) {
		p.pub("$iothub/twin/res/200/?$rid="+rid, echo, 0, 0)
	}),
	"a property": withTwin(func(p *liar, rid, echo string) {
		text, _ := json.Marshal(map[string]any{"desired": map[string]any{"$version": 1, echo: 1, "a": echo},
			"reported": map[string]any{"$version": 1}})
		p.pub("$iothub/twin/res/200/?$rid="+rid, string(text), 0, 0)
	}),
	"a twin's topic": withTwin(func(p *liar, _, echo string) {
		p.pub("$iothub/twin/res/"+echo+"/?$rid="+echo, "{}", 0, 0)
	}),
	"a patch's version": withTwin(func(p *liar, _, echo string) {
		p.pub("$iothub/twin/PATCH/properties/desired/?$version="+echo, echo, 0, 0)
	}),
	"a method's name": withTwin(func(p *liar, _, echo string) {
		p.pub("$iothub/methods/POST/"+echo+"/?$rid=1", "", 0, 0)
	}),
	"a method's payload": withTwin(func(p *liar, _, echo string) {
		p.pub("$iothub/methods/POST/m/?$rid=1", strconv.Quote(echo), 0, 0)
	}),
	"what is no payload": withTwin(func(p *liar, _, echo string) {
		p.pub("$iothub/methods/POST/m/?$rid="+echo, echo, 0, 0)
	}),
	"a command's name":     withTwin(command("method-name=")),
	"a command's ID":       withTwin(command("%24.mid=")),
	"a command's property": withTwin(command("")),
	"a command as it is": withTwin(func(p *liar, _, echo string) {
		p.pub("devices/dev1/messages/devicebound/"+echo, echo, 0, 0)
	}),
	"a topic nobody knows":   withTwin(func(p *liar, _, echo string) { p.pub(echo, echo, 0, 0) }),
	"bytes that are no MQTT": withTwin(func(p *liar, _, echo string) { _, _ = p.Write([]byte("\xf0\x7f" + echo)) }),
}

func command(name string) func(p *liar, rid, echo string) {
	return func(p *liar, _, echo string) {
		p.pub("devices/dev1/messages/devicebound/"+name+url.QueryEscape(echo)+"&x="+echo, echo, 0, 0)
	}
}

func beforeCONNACK(p *liar, packet packets.ControlPacket, echo string) {
	if packet == nil {
		_, _ = p.Write([]byte(echo))
	}
}

func behindCONNACK(p *liar, packet packets.ControlPacket, echo string) {
	if packet == nil {
		p.send(packets.NewControlPacket(packets.Connack))
		_, _ = p.Write([]byte(echo))
	}
}

// withTwin says it when the device has just connected and asks for its twin.
func withTwin(say func(p *liar, rid, echo string)) parrot {
	return func(p *liar, packet packets.ControlPacket, echo string) {
		if m, ok := packet.(*packets.PublishPacket); ok && strings.Contains(m.TopicName, "/twin/GET/") {
			say(p, requestID(m), echo)
		}
	}
}

func requestID(m *packets.PublishPacket) string {
	_, rid, _ := strings.Cut(m.TopicName, "$rid=")
	rid, _, _ = strings.Cut(rid, "&")
	return rid
}

func TestAPasswordThatAPeerRepeatsIsNotShown(t *testing.T) {
	slow.Test(t)
	for role, parrots := range map[string]map[string]parrot{"DPS": dpsParrots, "a hub": hubParrots} {
		for place, repeat := range parrots {
			for how := range newCanary(nil) {
				for _, part := range []string{"whole", "signature"} {
					t.Run(fmt.Sprintf("%s, %s, %s %s", role, place, part, how), func(t *testing.T) {
						synctest.Test(t,
							func(t *testing.T) { repeated(t, role == "DPS", repeat, part == "whole", how) })
					})
				}
			}
		}
	}
}

func repeated(t *testing.T, asDPS bool, repeat parrot, whole bool, how string) {
	var mu sync.Mutex
	var heard []canary
	state := t.TempDir()
	w := fakeWorld(t, true, func(s *machine.Settings) {
		s.Identity.Key = groupSource
		if asDPS {
			s.Identity.ProvisioningHost, s.Storage.StateDir = "hub.example:8883", state
		}
		quote := func(values ...any) error { return fmt.Errorf("cannot use %q", values) }
		s.Handlers = machine.Handlers{
			Method: func(_ context.Context, name string, b json.RawMessage) (int, any, error) {
				return 0, nil, quote(name, b)
			},
			Command: func(_ context.Context, m machine.Message) error { return quote(m) },
			Desired: func(_ context.Context, k machine.PropertyName, v json.RawMessage) (machine.PropertyAck, error) {
				return machine.PropertyAck{}, quote(k, v)
			},
		}
	}, func(p *liar) {
		c, ok := p.next().(*packets.ConnectPacket)
		if !ok {
			return
		}
		token, signature := tokenCanaries(t, string(c.Password))
		mu.Lock()
		heard = append(heard, token, signature)
		mu.Unlock()
		echo := signature[how]
		if whole {
			echo = token[how]
		}
		quiet := asDPS != strings.Contains(c.Username, "/registrations/")
		if !quiet {
			repeat(p, nil, echo)
		}
		p.send(packets.NewControlPacket(packets.Connack))
		for packet := p.next(); packet != nil; packet = p.next() {
			p.basics(packet)
			if !quiet {
				repeat(p, packet, echo)
			}
			if m, ok := packet.(*packets.PublishPacket); ok && m.Qos > 0 {
				p.puback(m.MessageID)
			}
		}
	})
	w.live()
	time.Sleep(3 * time.Minute)
	places := map[string]string{"the end": fmt.Sprint(w.close()), "the records": w.said()}
	if err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var text []byte
			text, err = os.ReadFile(path)
			places[path] = string(text)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if len(heard) == 0 {
		t.Error("the device has shown no token")
	}
	for where, text := range places {
		for _, c := range heard {
			c.wantNone(t, where, text)
		}
	}
}
