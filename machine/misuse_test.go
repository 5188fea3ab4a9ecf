package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
)

// User code may call the device it belongs to, even to end it; at the worst it is named as what does not return.
func TestHandlersAndObserversMayCallTheDevice(t *testing.T) {
	calls := map[string]func(*machine.Device){
		"Close":      func(d *machine.Device) { _ = d.Close(context.Background()) },
		"Fire close": func(d *machine.Device) { _ = d.Fire(context.Background(), machine.Close) },
		"Fire renew": func(d *machine.Device) { _ = d.Fire(context.Background(), machine.Renew) },
		"Fire lost":  func(d *machine.Device) { _ = d.Fire(context.Background(), machine.Lost) },
	}
	for name, call := range calls {
		for _, who := range []string{"method", "command", "desired", "observer"} {
			t.Run(name+" in a "+who, func(t *testing.T) { callFrom(t, who, call) })
		}
	}
}

func callFrom(t *testing.T, who string, call func(*machine.Device)) {
	var device *machine.Device
	var once sync.Once
	when := func(is string) {
		if is == who {
			once.Do(func() { call(device) })
		}
	}
	bubble(t, func(s *machine.Settings) {
		s.Handlers = machine.Handlers{
			Method: func(context.Context, string, json.RawMessage) (int, any, error) {
				when("method")
				return 200,
					nil, nil
			},
			Command: func(context.Context, machine.Message) error { when("command"); return nil },
			Desired: func(context.Context, machine.PropertyName, json.RawMessage) (machine.PropertyAck, error) {
				when("desired")
				return machine.PropertyAck{}, nil
			},
		}
		s.Observers = append(s.Observers, func(r machine.Record) {
			if r.To == string(machine.Connected) {
				when("observer")
			}
		})
	}, func(t *testing.T, w *world) {
		device = w.device
		w.connected()
		_ = w.cloud.SetDesired(deviceID, map[string]any{"a": 1})
		_ = w.cloud.SendCommand(deviceID, "x", nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, _, _ = w.cloud.InvokeMethod(ctx, deviceID, "m", nil)
		time.Sleep(time.Minute)
		begin := time.Now()
		err := w.close()
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("close took %v", took)
		}
		if err != nil && !strings.Contains(err.Error(), "have not returned") &&
			!strings.Contains(err.Error(), "an observer has not processed") {
			t.Errorf("run: %v", err)
		}
	})
}

func TestAHubThatAcceptsAndThenDropsSessionsIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var minutes [60]int // connects in each
		begin := time.Now()
		w := fakeWorld(t, true, nil, func(p *liar) {
			mu.Lock()
			minutes[time.Since(begin)/time.Minute]++
			mu.Unlock()
			p.welcome()
		})
		w.live()
		time.Sleep(time.Hour - time.Second)
		w.close()
		for i, n := range minutes {
			if n > 25 || i >= 10 && n > 2 {
				t.Errorf("%d connects in minute %d", n, i)
			}
		}
	})
}

func TestAFullOutboxRefusesAtOnceIfAllOfItIsInFlight(t *testing.T) {
	bubble(t, func(s *machine.Settings) { s.Storage.Limits = outbox.Limits{Readings: 10} },
		func(t *testing.T, w *world) {
			w.connected()
			if err := w.cloud.Inject("A", emulator.NoPUBACK, emulator.Params{}); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			for i := range 100 {
				_, err := w.device.Send(t.Context(), machine.Reading{Body: []byte("1")})
				if full := i >= 10; full != errors.Is(err, outbox.ErrFull) || !full && err != nil {
					t.Fatalf("reading %d: %v", i+1, err)
				}
				synctest.Wait()
			}
			if took := time.Since(begin); took != 0 {
				t.Errorf("Send waited: %v", took)
			}
			var lost *machine.LostError
			if err := w.close(); !errors.As(err, &lost) || *lost != (machine.LostError{Left: 10, Dropped: 90}) {
				t.Errorf("run: %v", err)
			}
		})
}

func TestAHubThatViolatesTheProtocolCannotEndTheDevice(t *testing.T) {
	slow.Test(t)
	for seed := range scaled(10, 200) {
		synctest.Test(t, func(t *testing.T) {
			var smu sync.Mutex
			r := rand.New(rand.NewPCG(uint64(seed), 3))
			n := func(i int) int { smu.Lock(); defer smu.Unlock(); return r.IntN(i) }
			topics := []string{"$iothub/methods/POST/a/?$rid=1", "$iothub/methods/POST/",
				"$iothub/methods/POST//?$rid=",
				"$iothub/twin/res/200/?$rid=1", "$iothub/twin/res/abc/?", "$iothub/twin/res/",
				"$iothub/twin/PATCH/properties/desired/?$version=2",
				"$iothub/twin/PATCH/properties/desired/?$version=-9223372036854775808",
				"$iothub/twin/PATCH/properties/desired/", "devices/dev1/messages/devicebound/",
				"devices/dev1/messages/devicebound/%24.mid=1&x=%zz", "devices/other/messages/devicebound/a=b", "",
				"\x00",
				"a/b/c", "$iothub/methods/POST/" + strings.Repeat("x", 60000) + "/?$rid=1"}
			bodies := []string{"", "{}", "null", "[]", `{"desired":{"$version":1}}`, `{"$version":2,"a":1}`,
				`{"$version":99999999999999999999,"a":{"__t":"c","b":null}}`, "\xff\xfe", `{"a":` +
					strings.Repeat("[", 20000),
				strings.Repeat("x", 300000), `{"desired":{"$version":3,"a":{"a":{"a":1}},"b":null},"reported":null}`}
			w := fakeWorld(t, true, func(s *machine.Settings) {
				s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) {
					return 0, 1,
						nil
				}
				s.Handlers.Command = func(context.Context, machine.Message) error { return nil }
				s.Handlers.Desired = func(context.Context, machine.PropertyName,
					json.RawMessage) (machine.PropertyAck, error) {
					return machine.PropertyAck{}, nil
				}
			}, func(p *liar) {
				p.welcome()
				lie := func() {
					switch n(12) {
					case 0:
						p.puback(uint16(n(70)))
					case 1:
						a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
						a.MessageID = uint16(n(5))
						a.ReturnCodes = make([]byte, n(5))
						p.send(a)
					case 2:
						p.Write([]byte{byte(n(256)), byte(n(4)), byte(n(256)), byte(n(256))})
					case 3, 4, 5, 6: // PUBREL, PUBREC, UNSUBACK or PUBCOMP
						p.Write([]byte{"\x62\x50\xb0\x70"[n(4)], 2, 0, byte(n(10))})
					case 7:
						p.send(packets.NewControlPacket(packets.Connack))
					default:
						p.pub(topics[n(len(topics))], bodies[n(len(bodies))], byte(n(3)), uint16(1+n(100)))
					}
				}
				for pk := p.next(); pk != nil; pk = p.next() {
					if n(3) == 0 {
						for range n(20) {
							lie()
						}
					}
					if m, ok := pk.(*packets.PublishPacket); ok {
						if i := strings.Index(m.TopicName, "$rid="); i >= 0 && n(4) > 0 {
							p.pub(fmt.Sprintf("$iothub/twin/res/%d/?$rid=%s",
								[]int{200, 204, 500, 400, 429, -1}[n(6)], m.TopicName[i+5:]),
								bodies[n(len(bodies))], 0, 0)
						}
						if m.Qos == 1 && n(10) > 0 {
							p.puback(m.MessageID)
						}
					}
					p.basics(pk)
				}
			})
			w.live()
			for range 200 {
				w.send()
				w.device.Report(t.Context(), map[string]any{"a": n(10)})
				time.Sleep(time.Duration(n(3000)) * time.Millisecond)
			}
			since := time.Now()
			w.close()
			if took := time.Since(since); took > 8*time.Second {
				t.Errorf("seed %d: close took %v", seed, took)
			}
		})
	}
}

func TestPatchesThatOverflowDuringAReadAreNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		last := ""
		w := fakeWorld(t, true, func(s *machine.Settings) {
			s.Handlers.Desired = func(
				_ context.Context, k machine.PropertyName, v json.RawMessage,
			) (machine.PropertyAck, error) {
				mu.Lock()
				defer mu.Unlock()
				last = string(v)
				return machine.PropertyAck{}, nil
			}
		}, func(p *liar) {
			p.welcome()
			v := 1
			for pk := p.next(); pk != nil; pk = p.next() {
				if m, ok := pk.(*packets.PublishPacket); ok && strings.Contains(m.TopicName, "/twin/GET/") {
					rid := m.TopicName[strings.Index(m.TopicName, "$rid=")+5:]
					read := fmt.Sprintf(`{"desired":{"$version":%d,"a":%d},"reported":{"$version":1}}`, v, v)
					if v == 1 { // 70 changes while the answer is under way
						for range 65 {
							v++
							p.pub(fmt.Sprintf("$iothub/twin/PATCH/properties/desired/?$version=%d", v),
								fmt.Sprintf(`{"a":%d,"$version":%d}`, v, v), 0, 0)
						}
					}
					p.pub("$iothub/twin/res/200/?$rid="+rid, read, 0, 0)
				} else if ok && strings.Contains(m.TopicName, "reported") {
					p.pub("$iothub/twin/res/204/?$rid="+m.TopicName[strings.Index(m.TopicName,
						"$rid=")+5:]+"&$version=2", "", 0, 0)
				}
				p.basics(pk)
			}
		})
		w.connected()
		time.Sleep(10 * time.Minute)
		mu.Lock()
		if last != "66" {
			t.Errorf("the property is 66 and the handler was last given %s", last)
		}
		mu.Unlock()
		w.close()
	})
}

var _ net.Conn
