package transport_test

import (
	"bytes"
	"context"
	"io"
	"math/rand"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/transport"
)

// paho panics at some of these, and keeps a dead connection after others.
func TestMalformedPacketsEndTheSession(t *testing.T) {
	for name, bytes := range map[string]string{
		"packet type 0":                   "\x00\x00",
		"packet type 15":                  "\xf0\x00",
		"a packet beyond measure":         "\x30\xff\xff\xff\x7f",
		"a length that has no end":        "\x30\xff\xff\xff\xff\xff\xff\xff",
		"a PUBLISH without a topic":       "\x30\x00",
		"a PUBLISH that is cut short":     "\x32\x05\x00\x09abc",
		"a PUBACK without a number":       "\x40\x00",
		"a SUBACK without a number":       "\x90\x00",
		"a SUBACK with too many codes":    "\x90\x05\x00\x01\x00\x00\x00",
		"a SUBACK with too few codes":     "\x90\x02\x00\x01",
		"a SUBACK that nobody waits for":  "\x90\x03\x00\x09\x00",
		"a CONNACK with an unknown code":  "\x20\x02\x00\x09",
		"text":                            notMQTT + string(make([]byte, 100)),
		"an alert of another TLS library": "\x15\x03\x03\x00\x02\x02\x28",
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(w *world) {
				w.serve(func(p *peer) {
					p.accept()
					p.next() // SUBSCRIBE, packet number 1
					io.WriteString(p, bytes)
					p.answerNone()
				})
				s := w.connect()
				start, want := time.Now(), transport.ProtocolBroken
				if name == "a CONNACK with an unknown code" {
					want = transport.ConnectRejected
				}
				w.wantReason(s.Subscribe(w.Context(), 1, "filter"), want)
				w.wantEnd(s, want)
				w.wantTook(start, 0)
			})
		})
	}
}

func TestUnexpectedButValidPacketsDoNotEndTheSession(t *testing.T) {
	for name, bytes := range map[string]string{
		"a PUBACK that nobody waits for":    "\x40\x02\x00\x63",
		"an UNSUBACK that nobody waits for": "\xb0\x02\x00\x63",
		"a PINGRESP without a ping":         "\xd0\x00",
		"an empty message":                  "\x30\x03\x00\x01t",
		"a message at QoS 2, and PUBREL":    "\x34\x05\x00\x01t\x00\x01\x62\x02\x00\x01",
		"two packets in one":                "\xd0\x00\xd0\x00",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve(func(p *peer) { p.accept(); io.WriteString(p, bytes); p.answerAll() })
				s := w.connect()
				s.Attach(func(m transport.Message) bool { m.Ack(); return true })
				if err := publishAndWait(s, w.Context(), "t", 1, nil); err != nil {
					w.Error(err)
				}
				if err := s.Subscribe(w.Context(), 1, "a", "b"); err != nil {
					w.Error(err)
				}
			})
		})
	}
}

// paho would take such an acknowledgement, and panic if the write failed at the same time.
func TestAnAcknowledgementOfAnUnsentMessageDoesNotCount(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*valve)
		want transport.Reason // of the error that done is called with
	}{
		"and never will": {func(v *valve) { v.Close() }, transport.ClosedLocally},
		"yet":            {(*valve).release, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				early := make(chan struct{})
				w.serve(func(p *peer) { p.accept(); <-early; p.send(puback(1)); p.answerAll() })
				var v *valve
				s := w.connect(withValve(&v))
				v.stop()
				published := make(chan error, 1)
				go func() { published <- publishAndWait(s, w.Context(), "t", 1, nil) }()
				synctest.Wait()
				close(early)
				synctest.Wait()
				select {
				case err := <-published:
					w.Fatalf("it has not been written, and Publish returned %v", err)
				default:
				}
				c.end(v)
				if err := <-published; c.want != "" {
					w.wantReason(err, c.want)
				} else if err != nil {
					w.Error(err)
				}
			})
		})
	}
}

// A password that the peer sends back is overwritten with asterisks, and must not be found again in them.
func TestAPasswordOfAsterisksDoesNotBlockReading(t *testing.T) {
	inBubble(t, func(w *world) {
		stars := strings.Repeat("*", 32)
		w.serve(func(p *peer) { p.accept(); p.send(publish(7, stars)); p.answerAll() })
		s := w.connect(func(c *transport.Config) {
			c.Password = func(time.Time) (string, error) { return stars, nil }
		})
		got := make(chan string, 1)
		s.Attach(func(m transport.Message) bool { got <- m.Topic + string(m.Payload); return true })
		if m := <-got; !strings.Contains(m, stars) {
			w.Errorf("received %q", m)
		}
	})
}

func TestPacketsMayArriveInPiecesOrTogether(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) {
			p.accept()
			for _, b := range []byte("\x30\x04\x00\x01tx\x30\x84\x80\x00\x00\x01ty") {
				p.Write([]byte{b})
				time.Sleep(time.Second)
			}
			p.answerAll()
		})
		var got log[string]
		s := w.connect()
		s.Attach(func(m transport.Message) bool { got.add(string(m.Payload)); return true })
		time.Sleep(time.Minute)
		w.wantSeen("handled", &got, "x", "y")
	})
}

func TestBytesAlteredOnTheNetworkEndTheSessionAsTLS(t *testing.T) {
	for name, bytes := range map[string]string{
		"a record that was altered": "\x17\x03\x03\x00\x20" + string(make([]byte, 32)),
		"bytes that are no record":  notMQTT,
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(w *world) {
				w.serve(func(p *peer) { p.accept(); p.next(); io.WriteString(p.raw, bytes); p.answerNone() })
				s := w.connect()
				w.wantReason(publishAndWait(s, w.Context(), "t", 1, nil), transport.TLSFailed)
			})
		})
	}
}

func TestAPeerThatSendsButAnswersNoPingEndsTheSession(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) {
			p.accept()
			go p.answerNone()
			for range 600 {
				p.send(publish(0, "x"))
				time.Sleep(time.Second)
			}
		})
		w.wantEnd(w.connect(), transport.ProtocolBroken)
	})
}

// Each peer mixes packets at random, some of them damaged, but the same in each run. The session may live or end with a
// reason.
func TestNoInputCrashesTheProcess(t *testing.T) {
	var valid [][]byte
	for _, packet := range []packets.ControlPacket{
		publish(0, "x"), publish(1, "y"), puback(1), puback(2), suback(1, 0, 1), suback(3, 1), connack(0),
		packets.NewControlPacket(packets.Pingresp), packets.NewControlPacket(packets.Unsuback),
		packets.NewControlPacket(packets.Pubrec), packets.NewControlPacket(packets.Pubrel),
		packets.NewControlPacket(packets.Pubcomp),
	} {
		var b bytes.Buffer
		packet.Write(&b)
		valid = append(valid, b.Bytes())
	}
	inBubble(t, func(w *world) {
		var run atomic.Int64
		w.serve(func(p *peer) {
			random := rand.New(rand.NewSource(run.Add(1)))
			p.accept()
			p.next()
			for range 20 {
				packet := bytes.Clone(valid[random.Intn(len(valid))])
				if random.Intn(2) == 0 {
					packet[random.Intn(len(packet))] = byte(random.Intn(256))
				}
				p.Write(packet)
			}
		})
		for range 200 {
			s := w.connect()
			s.Attach(func(m transport.Message) bool { m.Ack(); return true })
			ctx, cancel := context.WithTimeout(w.Context(), time.Second)
			go publishAndWait(s, ctx, "t", 1, nil)
			_ = s.Subscribe(ctx, 1, "a", "b")
			cancel()
			w.close(s)
			if transport.ReasonOf(s.Cause()) == transport.Unknown {
				w.Errorf("the cause is %v", s.Cause())
			}
		}
	})
}
