package transport_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/transport"
)

func TestCONNECTHasTheFieldsOfTheConfig(t *testing.T) {
	everywhere(t, func(w *world) {
		var got log[packets.ConnectPacket]
		w.serve(func(p *peer) { got.add(*p.next().(*packets.ConnectPacket)); p.send(connack(0)); p.answerAll() })
		w.connect(func(c *transport.Config) { c.CleanSession = true })
		c := got.all()[0]
		if c.ClientIdentifier != "dev1" || c.Username != "dev1" || string(c.Password) != "secret" || !c.CleanSession ||
			c.ProtocolVersion != 4 || c.WillFlag || c.Keepalive != 24 {
			w.Errorf("CONNECT was %v", &c)
		}
	})
}

func TestSessionPresentIsThatOfCONNACK(t *testing.T) {
	inBubble(t, func(w *world) {
		present := false
		w.serve(func(p *peer) {
			p.next()
			a := connack(0).(*packets.ConnackPacket)
			a.SessionPresent = present
			p.send(a)
			p.answerAll()
		})
		for _, present = range []bool{false, true} {
			if s := w.connect(); s.SessionPresent() != present || s.Host() != w.host {
				w.Errorf("present %t at %s", s.SessionPresent(), s.Host())
			}
		}
	})
}

func TestDoneIsCalledAfterThePeerHasTheMessage(t *testing.T) {
	everywhere(t, func(w *world) {
		var got log[string]
		w.serve(func(p *peer) {
			p.accept()
			for packet := p.next(); packet != nil; packet = p.next() {
				if m, ok := packet.(*packets.PublishPacket); ok {
					time.Sleep(3 * time.Millisecond)
					got.add(m.TopicName + " " + string(m.Payload))
				}
				p.answer(packet)
			}
		})
		s := w.connect()
		for i := range 10 {
			if err := publishAndWait(s, w.Context(), "t", 1, fmt.Append(nil, i)); err != nil {
				w.Fatal(err)
			}
			if all := got.all(); len(all) != i+1 || all[i] != fmt.Sprint("t ", i) {
				w.Fatalf("after %d messages the peer has %q", i+1, all)
			}
		}
	})
}

func TestMessagesAreSentInOrderAndBeforeDISCONNECT(t *testing.T) {
	const n = 200
	everywhere(t, func(w *world) {
		var got log[string]
		ended := make(chan struct{})
		w.serve(func(p *peer) {
			defer close(ended)
			p.accept()
			for packet := p.next(); packet != nil; packet = p.next() {
				switch m := packet.(type) {
				case *packets.PublishPacket:
					got.add(string(m.Payload))
				case *packets.DisconnectPacket:
					got.add("DISCONNECT")
				}
			}
		})
		s := w.connect()
		var want []string
		var done sync.WaitGroup
		for i := range n {
			want = append(want, fmt.Sprint(i))
			done.Add(1)
			if err := s.Publish(w.Context(), "t", byte(i%2), []byte(want[i]), func(error) { done.Done() }); err != nil {
				w.Fatal(err)
			}
		}
		w.close(s)
		done.Wait()
		<-ended
		if all := got.all(); !slices.Equal(all, append(want, "DISCONNECT")) {
			w.Errorf("of %d messages and DISCONNECT the peer has %d; the last are %q", n, len(all),
				all[max(0, len(all)-3):])
		}
		w.wantReason(s.Cause(), transport.ClosedLocally)
	})
}

func TestPendingCallsReturnTheCauseOfTheEnd(t *testing.T) {
	for end, want := range map[string]transport.Reason{
		"FIN": transport.Closed, "RST": transport.Reset, "garbage": transport.ProtocolBroken,
		"Close": transport.ClosedLocally,
	} {
		for _, clean := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, clean session %t", end, clean), func(t *testing.T) {
				everywhere(t, func(w *world) {
					ready := make(chan struct{})
					w.serve(func(p *peer) {
						p.accept()
						for range 12 {
							p.next()
						}
						switch end {
						case "RST":
							p.reset()
						case "garbage":
							p.Write([]byte{0, 0})
							p.answerNone()
						case "Close":
							close(ready)
							p.answerNone()
						}
					})
					s := w.connect(func(c *transport.Config) { c.CleanSession = clean })
					var results log[error]
					var waiting sync.WaitGroup
					waiting.Add(12)
					done := func(err error) { results.add(err); waiting.Done() }
					for range 10 {
						if err := s.Publish(w.Context(), "t", 1, nil, done); err != nil {
							w.Fatal(err)
						}
					}
					go func() { done(s.Subscribe(w.Context(), 1, "f")) }()
					go func() { done(s.Unsubscribe(w.Context(), "f")) }()
					if end == "Close" {
						<-ready
						w.close(s)
					}
					waiting.Wait()
					w.wantEnd(s, want)
					for _, err := range results.all() {
						w.wantReason(err, want)
					}
					w.wantReason(publishAndWait(s, w.Context(), "t", 1, nil), want)
					w.wantReason(publishAndWait(s, w.Context(), "t", 0, nil), want)
					w.wantReason(s.Subscribe(w.Context(), 1, "f"), want)
				})
			})
		}
	}
}

func TestCallsDuringCloseReturnItsCause(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerNone() })
		for range 20 {
			s := w.connect()
			var asking sync.WaitGroup
			for range 4 {
				asking.Go(func() {
					for s.Cause() == nil {
						w.wantReason(publishAndWait(s, w.Context(), "t", 1, nil), transport.ClosedLocally)
					}
				})
			}
			synctest.Wait()
			w.close(s)
			asking.Wait()
		}
	})
}

func TestARefusedFilterIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		answer packets.ControlPacket // to the first packet
		want   transport.Reason
	}{
		"the second of two": {suback(1, 1, 0x80), transport.SubscriptionRefused},
		"all":               {suback(1, 0x80, 0x80), transport.SubscriptionRefused},
		"by a PUBACK":       {puback(1), transport.SubscriptionRefused},
		"none, at QoS 0":    {suback(1, 0, 0), ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve(func(p *peer) {
					p.accept()
					p.next()
					p.send(c.answer)
					p.answerAll()
				})
				s := w.connect()
				err := s.Subscribe(w.Context(), 1, "a", "b")
				if c.want != "" {
					w.wantReason(err, c.want)
				} else if err != nil {
					w.Error(err)
				}
				if err := publishAndWait(s, w.Context(), "t", 1, nil); err != nil {
					w.Errorf("the session has ended too: %v", err)
				}
			})
		})
	}
}

func TestTheContextEndsACallAndNotTheSession(t *testing.T) {
	for name, call := range map[string]func(*transport.Session, context.Context) error{
		"Publish": func(s *transport.Session,
			ctx context.Context) error {
			return publishAndWait(s, ctx, "t", 1, nil)
		},
		"Subscribe":   func(s *transport.Session, ctx context.Context) error { return s.Subscribe(ctx, 1, "f") },
		"Unsubscribe": func(s *transport.Session, ctx context.Context) error { return s.Unsubscribe(ctx, "f") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve(func(p *peer) { p.accept(); p.next(); p.answerAll() })
				s := w.connect()
				ctx, cancel := context.WithTimeout(w.Context(), time.Second)
				defer cancel()
				start := time.Now()
				if err := call(s, ctx); !errors.Is(err, context.DeadlineExceeded) {
					w.Errorf("got %v", err)
				}
				w.wantTook(start, time.Second)
				if err := call(s, w.Context()); err != nil {
					w.Errorf("the next call: %v", err)
				}
			})
		})
	}
}

func TestATopicThatIsTooLongIsRefused(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerAll() })
		s := w.connect()
		if err := publishAndWait(s, w.Context(), strings.Repeat("t", 65536), 1, nil); err == nil {
			w.Error("the topic was accepted")
		}
		if err := publishAndWait(s, w.Context(), strings.Repeat("t", 65535), 1, nil); err != nil {
			w.Errorf("the longest topic: %v", err)
		}
	})
}

func TestPacketIdentifiersAreReused(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerAll() })
		s := w.connect()
		window := make(chan struct{}, 100)
		for range 70000 {
			window <- struct{}{}
			if err := s.Publish(w.Context(), "t", 1, nil, func(err error) {
				if err != nil {
					w.Error(err)
				}
				<-window
			}); err != nil {
				w.Fatal(err)
			}
		}
		for range cap(window) {
			window <- struct{}{}
		}
	})
}

func TestBusyReportsLargeAndPartialPackets(t *testing.T) {
	inBubble(t, func(w *world) {
		half, rest := make(chan struct{}), make(chan struct{})
		w.serve(func(p *peer) {
			p.accept()
			p.answer(p.next())
			<-half
			p.Write([]byte("\x30\x04\x00\x01"))
			<-rest
			p.Write([]byte("tx"))
			p.answerAll()
		})
		s := w.connect()
		want := func(want bool, when string) {
			t.Helper()
			if synctest.Wait(); s.Busy() != want {
				t.Errorf("busy is %t %s", !want, when)
			}
		}
		want(false, "at first")
		if err := publishAndWait(s, w.Context(), "t", 1, make([]byte, 5000)); err != nil {
			t.Error(err)
		}
		want(false, "after a large message was acknowledged")
		close(half)
		want(true, "while part of a packet has come")
		close(rest)
		want(false, "when all of it has come")
		ignore := func(error) {}
		if err := s.Publish(w.Context(), "t", 0, make([]byte, 5000), ignore); err != nil {
			t.Error(err)
		}
		want(true, "while a large message may not have arrived")
		if err := publishAndWait(s, w.Context(), "t", 1, nil); err != nil {
			t.Error(err)
		}
		want(false, "after a later message was acknowledged")
	})
}

func TestNoFiltersNeedNoPacket(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerNone() })
		s := w.connect()
		if err := errors.Join(s.Subscribe(w.Context(), 1), s.Unsubscribe(w.Context())); err != nil {
			t.Error(err)
		}
	})
}
