package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
)

func TestHandlersAndObserversMayCallTheDevice(t *testing.T) {
	for name, f := range map[string]func(d *machine.Device, ctx context.Context){
		"close with background": func(d *machine.Device, _ context.Context) { d.Close(context.Background()) },
		"close with ctx":        func(d *machine.Device, ctx context.Context) { d.Close(ctx) },
		"fire close":            func(d *machine.Device, _ context.Context) { d.Fire(context.Background(), machine.Close) },
		"fire renew":            func(d *machine.Device, _ context.Context) { d.Fire(context.Background(), machine.Renew) },
		"fire lost":             func(d *machine.Device, _ context.Context) { d.Fire(context.Background(), machine.Lost) },
		"goexit":                func(d *machine.Device, _ context.Context) { runtime.Goexit() },
	} {
		for _, who := range []string{"method", "command", "desired", "observer"} {
			t.Run(name+" in "+who, func(t *testing.T) {
				var w *world
				var once sync.Once
				if name == "goexit" && who == "observer" {
					t.Skip()
				}
				bubble(t, func(s *machine.Settings) {
					s.Handlers.Method = func(ctx context.Context, _ string, _ json.RawMessage) (int, any, error) {
						if who == "method" {
							f(w.device, ctx)
						}
						return 200, nil, nil
					}
					s.Handlers.Command = func(ctx context.Context, _ machine.Message) error {
						if who == "command" {
							f(w.device, ctx)
						}
						return nil
					}
					s.Handlers.Desired = func(ctx context.Context, _ string, _ json.RawMessage) (machine.Ack, error) {
						if who == "desired" {
							f(w.device, ctx)
						}
						return machine.Ack{}, nil
					}
					s.Observers = append(s.Observers, func(r machine.Record) {
						if who == "observer" && r.To == string(machine.Connected) {
							once.Do(func() { f(w.device, context.Background()) })
						}
					})
				}, func(t *testing.T, ww *world) {
					w = ww
					w.connected()
					w.cloud.SetDesired(deviceID, map[string]any{"a": 1})
					w.cloud.SendCommand(deviceID, "x", nil)
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					go w.cloud.InvokeMethod(ctx, deviceID, "m", nil)
					time.Sleep(time.Minute)
					since := time.Now()
					ctx2, c2 := context.WithTimeout(context.Background(), 20*time.Second)
					defer c2()
					w.device.Close(ctx2)
					err := <-w.ran
					w.ran <- err
					if took := time.Since(since); took > 11*time.Second {
						t.Errorf("took %v", took)
					}
					if err != nil {
						t.Logf("run: %v", err)
					}
				})
			})
		}
	}
}

func TestAHubThatAcceptsAndDropsIsNotStormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var connects atomic.Int32
		var per [61]int
		var mu sync.Mutex
		begin := time.Now()
		w := fakeWorld(t, true, nil, func(p *liar) {
			connects.Add(1)
			mu.Lock()
			per[int(time.Since(begin)/time.Minute)]++
			mu.Unlock()
			p.welcome()
		})
		w.live()
		time.Sleep(time.Hour - time.Second)
		mu.Lock()
		t.Log(connects.Load(), per)
		mu.Unlock()
		w.close()
	})
}

func TestAFullOutboxRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var drops atomic.Int32
		w := fakeWorld(t, true, func(s *machine.Settings) {
			s.Outbox = outbox.NewMemory(outbox.Limits{Readings: 10}, func(outbox.Drop) { drops.Add(1) })
		}, func(p *liar) {
			p.welcome()
			for pk := p.next(); pk != nil; pk = p.next() {
				p.basics(pk)
			}
		})
		w.connected()
		ok, full := 0, 0
		for range 100 {
			_, err := w.device.Send(t.Context(), machine.Reading{Body: []byte("1")})
			if err == nil {
				ok++
			} else if errors.Is(err, outbox.ErrFull) {
				full++
			} else {
				t.Error(err)
			}
			synctest.Wait()
		}
		t.Log(ok, full, drops.Load())
		err := w.close()
		t.Log(err)
	})
}

func TestReconnectsLeaveNothingBehind(t *testing.T) {
	w := newWorld(t, false, emulator.Config{}, nil)
	w.live()
	w.awaitState(machine.Connected, 0)
	stop := w.sending(time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	g0, f0 := runtime.NumGoroutine(), fds()
	for i := range scaled(50, 1000) {
		from := w.count()
		if err := w.device.Fire(t.Context(), machine.Renew); err != nil {
			t.Log(i, err)
		}
		w.awaitState(machine.Connected, from)
	}
	time.Sleep(500 * time.Millisecond)
	g1, f1 := runtime.NumGoroutine(), fds()
	stop()
	if err := w.close(); err != nil {
		t.Error(err)
	}
	t.Logf("goroutines %d %d, fds %d %d, dup %d of %d", g0, g1, f0, f1, w.wantNothingLost(), len(w.taken))
}

func fds() int { e, _ := os.ReadDir("/proc/self/fd"); return len(e) }

func TestAHubThatLiesCannotEndTheDevice(t *testing.T) {
	for seed := range scaled(10, 200) {
		synctest.Test(t, func(t *testing.T) {
			var smu sync.Mutex
			r := rand.New(rand.NewPCG(uint64(seed), 3))
			n := func(i int) int { smu.Lock(); defer smu.Unlock(); return r.IntN(i) }
			topics := []string{"$iothub/methods/POST/a/?$rid=1", "$iothub/methods/POST/", "$iothub/methods/POST//?$rid=", "$iothub/twin/res/200/?$rid=1", "$iothub/twin/res/abc/?", "$iothub/twin/res/", "$iothub/twin/PATCH/properties/desired/?$version=2", "$iothub/twin/PATCH/properties/desired/?$version=-9223372036854775808", "$iothub/twin/PATCH/properties/desired/", "devices/dev1/messages/devicebound/", "devices/dev1/messages/devicebound/%24.mid=1&x=%zz", "devices/other/messages/devicebound/a=b", "", "\x00", "a/b/c", "$iothub/methods/POST/" + strings.Repeat("x", 60000) + "/?$rid=1"}
			bodies := []string{"", "{}", "null", "[]", `{"desired":{"$version":1}}`, `{"$version":2,"a":1}`, `{"$version":99999999999999999999,"a":{"__t":"c","b":null}}`, "\xff\xfe", `{"a":` + strings.Repeat("[", 20000), strings.Repeat("x", 300000), `{"desired":{"$version":3,"a":{"a":{"a":1}},"b":null},"reported":null}`}
			w := fakeWorld(t, true, func(s *machine.Settings) {
				s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) { return 0, 1, nil }
				s.Handlers.Command = func(context.Context, machine.Message) error { return nil }
				s.Handlers.Desired = func(context.Context, string, json.RawMessage) (machine.Ack, error) { return machine.Ack{}, nil }
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
					case 3:
						a := packets.NewControlPacket(packets.Pubrel).(*packets.PubrelPacket)
						a.MessageID = uint16(n(10))
						p.send(a)
					case 4:
						a := packets.NewControlPacket(packets.Pubrec).(*packets.PubrecPacket)
						a.MessageID = uint16(n(10))
						p.send(a)
					case 5:
						a := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
						a.MessageID = uint16(n(10))
						p.send(a)
					case 6:
						a := packets.NewControlPacket(packets.Pubcomp).(*packets.PubcompPacket)
						a.MessageID = uint16(n(10))
						p.send(a)
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
							p.pub(fmt.Sprintf("$iothub/twin/res/%d/?$rid=%s", []int{200, 204, 500, 400, 429, -1}[n(6)], m.TopicName[i+5:]), bodies[n(len(bodies))], 0, 0)
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
			s.Handlers.Desired = func(_ context.Context, k string, v json.RawMessage) (machine.Ack, error) {
				mu.Lock()
				defer mu.Unlock()
				last = string(v)
				return machine.Ack{}, nil
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
							p.pub(fmt.Sprintf("$iothub/twin/PATCH/properties/desired/?$version=%d", v), fmt.Sprintf(`{"a":%d,"$version":%d}`, v, v), 0, 0)
						}
					}
					p.pub("$iothub/twin/res/200/?$rid="+rid, read, 0, 0)
				} else if ok && strings.Contains(m.TopicName, "reported") {
					p.pub("$iothub/twin/res/204/?$rid="+m.TopicName[strings.Index(m.TopicName, "$rid=")+5:]+"&$version=2", "", 0, 0)
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
