package machine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

func TestATwinThatFailsAtCloseDoesNotStopTelemetry(t *testing.T) {
	slow.Test(t)
	synctest.Test(t, func(t *testing.T) {
		w := fakeWorld(t, true, nil, func(p *liar) {
			p.welcome()
			for pk := p.next(); pk != nil; pk = p.next() {
				if m, ok := pk.(*packets.PublishPacket); ok {
					switch {
					case m.Qos == 1:
						time.Sleep(time.Millisecond)
						p.puback(m.MessageID)
					case strings.Contains(m.TopicName, "/twin/GET/"):
						p.pub("$iothub/twin/res/200/?$rid="+m.TopicName[strings.Index(m.TopicName, "$rid=")+5:],
							`{"desired":{"$version":1},"reported":{"$version":1}}`, 0, 0)
					default:
						p.pub("$iothub/twin/res/429/?$rid="+m.TopicName[strings.Index(m.TopicName, "$rid=")+5:], `{}`,
							0, 0)
					}
					continue
				}
				p.basics(pk)
			}
		})
		w.connected()
		w.device.Report(t.Context(), map[string]any{"a": 1})
		synctest.Wait()
		for range 500 {
			w.send()
		}
		if err := w.close(); err != nil {
			t.Errorf("the hub took every reading that it was given, in a millisecond each: %v", err)
		}
	})
}

func TestAnEventFromOutsideMaySkipAState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fakeWorld(t, true, nil, func(p *liar) { p.next(); p.next() }) // no CONNACK
		w.live()
		w.awaitState(machine.Connecting, 0)
		synctest.Wait()
		if err := w.device.Fire(t.Context(), machine.HubAccepted); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAnUnreadablePropertyInAnAnswerOfDPSIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const assigned = `{"status":"assigned","registrationState":{"assignedHub":"hub.example:8883"}}`
		w := fakeWorld(t, true,
			func(s *machine.Settings) { s.Identity.ProvisioningHost, s.Storage.StateDir = "hub.example:8883", "" },
			func(p *liar) {
				p.welcome()
				for packet := p.next(); packet != nil; packet = p.next() {
					p.basics(packet)
					if m, ok := packet.(*packets.PublishPacket); ok && strings.HasPrefix(m.TopicName, "$dps/") {
						p.pub("$dps/registrations/res/200/?$rid="+requestID(m)+"&note=100%", assigned, 0, 0)
					}
				}
			})
		w.live()
		time.Sleep(time.Minute)
		w.close()
		if said := w.said(); !strings.Contains(said, "DPS sent an answer of which not every property can be read") {
			t.Errorf("the records are %s", said)
		}
	})
}

func TestACallerMayReuseItsBufferAndItsMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, emulator.Config{}, nil)
		body := make([]byte, 0, 64)
		props := map[string]string{}
		for i := range 3 {
			body = fmt.Appendf(body[:0], `{"i":%d}`, i)
			props["i"] = fmt.Sprint(i)
			if _, err := w.device.Send(t.Context(), machine.Reading{Body: body, Properties: props}); err != nil {
				t.Fatal(err)
			}
		}
		w.connected()
		w.close()
		for i, d := range w.cloud.Ledger() {
			if string(d.Body) != fmt.Sprintf(`{"i":%d}`, i) || d.Properties["i"] != fmt.Sprint(i) {
				t.Errorf("delivered %s %v", d.Body, d.Properties["i"])
			}
		}
	})
}

type bomb struct{}

func (bomb) MarshalJSON() ([]byte, error) { panic("boom") }

func TestAnAnswerWhoseMarshalJSONPanicsIs500(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) { return 200, bomb{}, nil }
	}, func(t *testing.T, w *world) {
		w.connected()
		if status, _ := w.call("x", ""); status != 500 {
			t.Errorf("status %d", status)
		}
	})
}
func TestAnAcknowledgementWhoseMarshalJSONPanicsDoesNoHarm(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Desired = func(context.Context, machine.PropertyName, json.RawMessage) (machine.PropertyAck, error) {
			return machine.PropertyAck{Value: bomb{}}, nil
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		w.cloud.SetDesired(deviceID, map[string]any{"a": 1})
		synctest.Wait()
		_, reported, _, _ := w.cloud.Twin(deviceID)
		if ack, _ := reported["a"].(map[string]any); ack["ac"] != 500.0 {
			t.Errorf("acknowledged %v", reported)
		}
	})
}

func TestAHandlersTextThatIsNotUTF8IsNotChangedInSilence(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) {
			return 200, map[string]int{"a\xff": 1, "a\xfe": 2}, nil
		}
		s.Handlers.Desired = func(context.Context, machine.PropertyName, json.RawMessage) (machine.PropertyAck, error) {
			return machine.PropertyAck{Value: "\xff"}, nil
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		if status, answer := w.call("x", ""); status != 500 || !strings.Contains(answer, "not UTF-8") {
			t.Errorf("status %d, %s", status, answer)
		}
		w.cloud.SetDesired(deviceID, map[string]any{"a": 1})
		synctest.Wait()
		_, reported, _, _ := w.cloud.Twin(deviceID)
		ack, _ := reported["a"].(map[string]any)
		if text, _ := ack["ad"].(string); ack["ac"] != 500.0 || !strings.Contains(text, "not UTF-8") {
			t.Errorf("acknowledged %v", reported)
		}
	})
}

func TestReportsThatAreTakenBackStillFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []int
		var mu sync.Mutex
		var silent atomic.Bool
		silent.Store(true)
		w := fakeWorld(t, true, nil, func(p *liar) {
			p.welcome()
			for pk := p.next(); pk != nil; pk = p.next() {
				if m, ok := pk.(*packets.PublishPacket); ok {
					rid := m.TopicName[strings.Index(m.TopicName, "$rid=")+5:]
					switch {
					case strings.Contains(m.TopicName, "/twin/GET/"):
						p.pub("$iothub/twin/res/200/?$rid="+rid,
							`{"desired":{"$version":1},"reported":{"$version":1}}`, 0, 0)
					case silent.Load():
					default:
						mu.Lock()
						got = append(got, len(m.Payload))
						mu.Unlock()
						p.pub("$iothub/twin/res/204/?$rid="+rid+"&$version=2", ``, 0, 0)
					}
				}
				p.basics(pk)
			}
		})
		w.connected()
		big := func(prefix string) map[string]any {
			m := map[string]any{}
			for i := range 7 {
				m[fmt.Sprint(prefix, i)] = strings.Repeat("x", 4000)
			}
			return m
		}
		if err := w.device.Report(t.Context(), big("a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // it is in flight
		if err := w.device.Report(t.Context(), big("b")); err == nil {
			t.Error("together they are more than a twin holds, and yet it was accepted")
		}
		time.Sleep(10 * time.Second)
		silent.Store(false)
		time.Sleep(2 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for _, n := range got {
			if n > 32<<10 {
				t.Errorf("a patch of %d bytes, which every hub refuses and the device then gives up", n)
			}
		}
		w.close()
	})
}

func TestTheShortBoundAfterSilenceIsForOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, emulator.Config{}, func(s *machine.Settings) {
			s.Timing.TokenLife = 10 * time.Minute
		})
		w.connected()
		time.Sleep(time.Minute)
		w.network.SetLatency(20 * time.Second) // silence
		time.Sleep(7 * time.Second)
		w.network.SetLatency(0)
		i := w.awaitState(machine.Failover, 0)
		w.awaitState(machine.Connected, i)
		time.Sleep(time.Minute)
		w.network.SetLatency(600 * time.Millisecond)
		from := w.count()
		i = w.awaitState(machine.Connecting, from)
		w.await("end", i+1, func(r machine.Record) bool { return r.Kind == observe.Transition })
		w.network.SetLatency(0)
		w.mu.Lock()
		for _, r := range w.records[i+1:] {
			if r.Kind == observe.Transition {
				if r.To != string(machine.Connected) {
					t.Errorf("a renewal that takes 2.4 s of its 5 s: %s %s", r.Message, r.Error)
				}
				break
			}
		}
		w.mu.Unlock()
		w.close()
	})
}

// A stallConn is a connection whose writes can be made to stall.
type stallConn struct {
	net.Conn
	stalled *atomic.Bool
	gone    chan struct{}
	dead    atomic.Pointer[time.Time]
}

func (c *stallConn) SetWriteDeadline(t time.Time) error {
	c.dead.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}
func (c *stallConn) Write(b []byte) (int, error) {
	if c.stalled.Load() {
		d := time.Hour
		if at := c.dead.Load(); at != nil && !at.IsZero() {
			d = time.Until(*at)
		}
		select {
		case <-time.After(d):
			return 0, context.DeadlineExceeded
		case <-c.gone:
			return 0, net.ErrClosed
		}
	}
	return c.Conn.Write(b)
}
func (c *stallConn) Close() error {
	select {
	case <-c.gone:
	default:
		close(c.gone)
	}
	return c.Conn.Close()
}

func TestCloseIsInTimeWhileWritesStallAndMethodsFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stalled atomic.Bool
		flood := make(chan struct{})
		var w *world
		release := make(chan struct{})
		w = fakeWorld(t, true, func(s *machine.Settings) {
			dial := s.Link.Dial
			s.Handlers.Method = func(ctx context.Context, _ string, _ json.RawMessage) (int, any, error) {
				select {
				case <-release:
				case <-ctx.Done():
				}
				return 200, nil, nil
			}
			s.Link.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
				c, err := dial(ctx, n, a)
				if err != nil {
					return nil, err
				}
				return &stallConn{Conn: c, stalled: &stalled, gone: make(chan struct{})}, nil
			}
		}, func(p *liar) {
			p.welcome()
			go func() {
				<-flood
				for i := range 200 {
					p.pub(fmt.Sprintf("$iothub/methods/POST/m/?$rid=%d", i), "", 0, 0)
				}
			}()
			for pk := p.next(); pk != nil; pk = p.next() {
				p.basics(pk)
			}
		})
		w.connected()
		time.Sleep(time.Second)
		stalled.Store(true)
		close(flood)
		time.Sleep(100 * time.Millisecond)
		since := time.Now()
		_ = w.close() // says what hangs
		close(release)
		if took := time.Since(since); took > 8*time.Second {
			t.Errorf("close took %v", took)
		}
	})
}
