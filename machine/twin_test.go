package machine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

func TestAPatchThatComesTwiceIsHandledOnceAndAGapIsReadAgain(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		reads := func() (n int) {
			synctest.Wait()
			for _, what := range w.cloudly.all() {
				if strings.HasSuffix(what, " read") {
					n++
				}
			}
			return n
		}
		w.connected()
		w.strike(emulator.DuplicateDesired, emulator.Params{Count: 1})
		w.set(`{"a":1}`)
		w.wantHandled("a=1")
		if n := reads(); n != 1 {
			t.Errorf("%d reads, want one, at the start", n)
		}
		w.strike(emulator.DesiredGap, emulator.Params{Count: 2})
		w.set(`{"b":1}`)
		w.set(`{"c":1,"a":2}`)
		w.wantHandled("a=1")
		w.set(`{"d":1}`)
		w.wantHandled("a=1", "a=2", "b=1", "c=1", "d=1")
		if n := reads(); n != 2 {
			t.Errorf("%d reads, want one more", n)
		}
		w.wantReported(`{"a":{"ac":200,"av":5,"value":2},"b":{"ac":200,"av":5,"value":1},"c":{"ac":200,"av":5,"value":1},"d":{"ac":200,"av":5,"value":1}}`)
	})
}

// Requests travel at QoS 0 and may vanish, whatever they are.
func TestATwinRequestThatVanishesIsSentAgain(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.cloud.Enroll(deviceID, "")
		w.set(`{"a":1}`)
		w.strike(emulator.TwinMute, emulator.Params{Count: 3})
		w.report(`{"battery":80}`)
		w.live()
		w.awaitState(machine.Connected, 0)
		time.Sleep(time.Minute)
		w.wantHandled("a=1")
		w.wantReported(`{"a":{"ac":200,"av":2,"value":1},"battery":80}`)
		w.await("a warning", 0, func(r machine.Record) bool {
			return r.Kind == observe.Warning && strings.Contains(r.Error, "no answer in time")
		})
	})
}

func TestAThrottledTwinIsLeftAloneForAsLongAsItSays(t *testing.T) {
	for name, c := range map[string]struct {
		fault emulator.Params
		want  []int // seconds between requests
	}{
		"with a time":    {emulator.Params{Count: 2, RetryAfter: 20 * time.Second}, []int{20, 20}},
		"without a time": {emulator.Params{Count: 7}, []int{1, 2, 4, 8, 16, 30, 30}},
	} {
		t.Run(name, func(t *testing.T) {
			twinBubble(t, func(t *testing.T, w *twinWorld) {
				w.connected()
				time.Sleep(10*time.Second - time.Since(w.begin))
				before := len(w.cloudly.all())
				w.strike(emulator.TwinThrottles, c.fault)
				for i := range 600 { // whatever else is reported meanwhile
					w.report(fmt.Sprintf(`{"battery":%d}`, i))
					time.Sleep(250 * time.Millisecond)
				}
				at, want := 10, []string{"10 answered 429"}
				for i, wait := range c.want {
					at += wait
					want = append(want, fmt.Sprint(at, " answered 429"))
					if i == len(c.want)-1 {
						want[i+1] = fmt.Sprint(at, " reported properties have version 2")
					}
				}
				if got := w.cloudly.all()[before:]; len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
					t.Errorf("%q, want %q", got, want)
				}
				w.wantReported(`{"battery":599}`)
			})
		})
	}
}

// twinRequest is a packet that wants an answer of the twin, and its request ID. It does what any other packet wants.
func (p *liar) twinRequest(pk packets.ControlPacket) (m *packets.PublishPacket, rid string) {
	m, ok := pk.(*packets.PublishPacket)
	if !ok {
		p.basics(pk)
		return nil, ""
	}
	return m, m.TopicName[strings.Index(m.TopicName, "$rid=")+5:]
}

// This hub fails at reading, and throttles reporting once.
func TestATwinThatCannotBeReadHoldsUpNoReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got journal
		w := fakeWorld(t, true, nil, func(p *liar) {
			p.welcome()
			for pk := p.next(); pk != nil; pk = p.next() {
				m, rid := p.twinRequest(pk)
				if m == nil {
					continue
				}
				if strings.Contains(m.TopicName, "/twin/GET/") {
					p.pub("$iothub/twin/res/500/?$rid="+rid, ``, 0, 0)
					continue
				}
				got.add(fmt.Sprint(time.Now().Second(), " ", string(m.Payload)))
				if len(got.all()) == 1 {
					p.pub("$iothub/twin/res/429/?$rid="+rid+"&retry-after=7", ``, 0, 0)
					continue
				}
				p.pub("$iothub/twin/res/204/?$rid="+rid+"&$version=2", ``, 0, 0)
			}
		})
		w.device.Report(t.Context(), map[string]any{"battery": 80})
		w.connected()
		time.Sleep(time.Minute)
		if want := []string{`0 {"battery":80}`, `7 {"battery":80}`}; !slices.Equal(got.all(), want) {
			t.Errorf("the hub got %q, want %q", got.all(), want)
		}
		w.close()
	})
}

// The twin of this hub is of no use as soon as it has been read: a patch cannot be read, or others are missing before it.
func TestAHubThatMakesEveryTwinUselessIsAskedEverMoreSeldom(t *testing.T) {
	for name, patch := range map[string]string{"unreadable": `{`, "a gap": `{"a":1,"$version":100}`} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var reads, reports journal
				w := fakeWorld(t, true, nil, func(p *liar) {
					p.welcome()
					for pk := p.next(); pk != nil; pk = p.next() {
						m, rid := p.twinRequest(pk)
						if m == nil {
							continue
						}
						if strings.Contains(m.TopicName, "/twin/GET/") {
							reads.add(rid)
							time.Sleep(10 * time.Millisecond) // as a network takes
							p.pub("$iothub/twin/PATCH/properties/desired/?$version=100", patch, 0, 0)
							p.pub("$iothub/twin/res/200/?$rid="+rid, `{"desired":{"$version":1},"reported":{"$version":1}}`, 0, 0)
							continue
						}
						reports.add(string(m.Payload))
						p.pub("$iothub/twin/res/204/?$rid="+rid+"&$version=2", ``, 0, 0)
					}
				})
				w.connected()
				w.device.Report(t.Context(), map[string]any{"battery": 80})
				time.Sleep(time.Minute)
				if n := len(reads.all()); n > 7 {
					t.Errorf("%d requests in a minute", n)
				}
				if got := reports.all(); !slices.Equal(got, []string{`{"battery":80}`}) {
					t.Errorf("the hub got the reports %q", got)
				}
				w.close()
			})
		})
	}
}

// The desired patch comes before the answer to the request that the device made when it had subscribed.
func TestAPatchThatTheTwinHadAlreadyIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handled journal
		w := fakeWorld(t, true, func(s *machine.Settings) {
			s.Handlers.Desired = func(_ context.Context, key machine.PropertyName, value json.RawMessage) (machine.PropertyAck, error) {
				handled.add(key.String() + "=" + string(value))
				return machine.PropertyAck{}, nil
			}
		}, func(p *liar) {
			patch := func(version int) {
				p.pub(fmt.Sprint("$iothub/twin/PATCH/properties/desired/?$version=", version), fmt.Sprintf(`{"a":%[1]d,"$version":%[1]d}`, version), 0, 0)
			}
			p.welcome()
			for pk := p.next(); pk != nil; pk = p.next() {
				m, ok := pk.(*packets.PublishPacket)
				if ok && strings.Contains(m.TopicName, "/twin/GET/") {
					patch(4)
					patch(5)
					patch(6)
					p.pub("$iothub/twin/res/200/?$rid="+m.TopicName[strings.Index(m.TopicName, "$rid=")+5:],
						`{"desired":{"a":5,"$version":5},"reported":{"$version":1}}`, 0, 0)
				}
				p.basics(pk)
			}
		})
		w.connected()
		if got := handled.all(); !slices.Equal(got, []string{"a=5", "a=6"}) {
			t.Errorf("handled %v", got)
		}
		w.close()
	})
}
