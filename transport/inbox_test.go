package transport_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/transport"
)

// deliver makes the peer send n messages right after CONNACK, and logs the acknowledgements and DISCONNECT.
func (w *world) deliver(n int) *log[string] {
	w.Helper()
	var got log[string]
	w.serve(func(p *peer) {
		p.accept()
		for i := range n {
			p.send(publish(uint16(i+1), fmt.Sprint(i+1)))
		}
		for packet := p.next(); packet != nil; packet = p.next() {
			switch m := packet.(type) {
			case *packets.PubackPacket:
				got.add(fmt.Sprint(m.MessageID))
			case *packets.DisconnectPacket:
				got.add("DISCONNECT")
			}
			p.answer(packet)
		}
	})
	return &got
}

func numbers(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

func (w *world) wantSeen(what string, l *log[string], want ...string) {
	w.Helper()
	synctest.Wait()
	if all := l.all(); !slices.Equal(all, want) {
		w.Errorf("%s: %d, %.200q; want %d, %.200q", what, len(all), all, len(want), want)
	}
}

func TestMessagesAreHeldUntilAHandlerIsAttached(t *testing.T) {
	inBubble(t, func(w *world) {
		acked, handled := w.deliver(50), log[string]{}
		s := w.connect()
		time.Sleep(time.Minute)
		w.wantSeen("acknowledged while nobody was attached", acked)
		s.Attach(func(m transport.Message) bool { handled.add(string(m.Payload)); return true })
		w.wantSeen("handled", &handled, numbers(1, 50)...)
		w.wantSeen("acknowledged though the handler did not", acked)
	})
}

// A hub delivers a message again if it is not acknowledged within a minute.
func TestAcknowledgementsOvertakeQueuedMessages(t *testing.T) {
	inBubble(t, func(w *world) {
		ask, before := make(chan bool), make(chan int, 1)
		w.serve(func(p *peer) {
			p.accept()
			<-ask
			p.send(publish(1, "now"))
			sent := 0
			for packet := p.next(); packet != nil; packet = p.next() {
				switch packet.(type) {
				case *packets.PublishPacket:
					sent++
				case *packets.PubackPacket:
					before <- sent
				}
				p.answer(packet)
			}
		})
		var v *valve
		s := w.connect(withValve(&v))
		s.Attach(func(m transport.Message) bool { m.Ack(); return true })
		v.stop()
		for range 64 {
			if err := s.Publish(w.Context(), "t", 1, make([]byte, 1000), func(error) {}); err != nil {
				w.Fatal(err)
			}
		}
		synctest.Wait()
		close(ask)
		synctest.Wait()
		v.release()
		if n := <-before; n > 16 { // what paho and the send buffer had already
			w.Errorf("%d messages were sent before it", n)
		}
	})
}

func TestMessagesThatAHandlerLeavesAreHeldForTheNext(t *testing.T) {
	inBubble(t, func(w *world) {
		w.deliver(9)
		s := w.connect()
		attach := func(wanted ...string) *log[string] {
			var seen log[string]
			s.Attach(func(m transport.Message) bool {
				seen.add(string(m.Payload))
				return slices.Contains(wanted, string(m.Payload))
			})
			return &seen
		}
		w.wantSeen("shown to the first", attach("2", "4", "6", "8"), numbers(1, 9)...)
		s.Detach()
		w.wantSeen("shown to the second", attach("1", "9"), "1", "3", "5", "7", "9")
		w.wantSeen("shown to the third", attach("3", "5", "7"), "3", "5", "7")
		w.wantSeen("shown to the fourth", attach())
	})
}

func TestAcknowledgementsAreSentInOrderAndBeforeDISCONNECT(t *testing.T) {
	everywhere(t, func(w *world) {
		const n = 300
		acked := w.deliver(n)
		s := w.connect()
		last := make(chan struct{})
		s.Attach(func(m transport.Message) bool {
			m.Ack()
			if string(m.Payload) == fmt.Sprint(n) {
				close(last)
			}
			return true
		})
		<-last
		w.close(s)
		want := append(numbers(1, n), "DISCONNECT")
		for timeout := 5000; len(acked.all()) < len(want) && timeout > 0; timeout-- {
			time.Sleep(time.Millisecond) // the peer is still reading
		}
		if all := acked.all(); !slices.Equal(all, want) {
			w.Errorf("the peer has %d, %q", len(all), all)
		}
	})
}

func TestAMessageMayBeAcknowledgedTwiceLateOrNever(t *testing.T) {
	inBubble(t, func(w *world) {
		acked := w.deliver(4)
		var held log[transport.Message]
		s := w.connect()
		s.Attach(func(m transport.Message) bool { held.add(m); return true })
		synctest.Wait()
		all := held.all()
		all[2].Ack()
		all[2].Ack()
		time.Sleep(time.Hour)
		all[0].Ack()
		all[2].Ack()
		w.wantSeen("acknowledged", acked, "3", "1")
		w.close(s)
		all[0].Ack()
		all[1].Ack()
		transport.Message{}.Ack()
		w.wantSeen("acknowledged", acked, "3", "1", "DISCONNECT")
	})
}

func TestMessagesAboveTheLimitOfTheInboxAreNotAcknowledged(t *testing.T) {
	inBubble(t, func(w *world) {
		acked, handled := w.deliver(1500), log[string]{}
		s := w.connect()
		synctest.Wait()
		s.Attach(func(m transport.Message) bool { handled.add(string(m.Payload)); m.Ack(); return true })
		w.wantSeen("handled", &handled, numbers(1, 1024)...)
		w.wantSeen("acknowledged", acked, numbers(1, 1024)...)
		if err := publishAndWait(s, w.Context(), "t", 1, nil); err != nil {
			w.Errorf("the session has ended: %v", err)
		}
	})
}

// A hub that sends large messages must not fill the memory.
func TestMessagesAboveTheBytesOfTheInboxAreNotAcknowledged(t *testing.T) {
	inBubble(t, func(w *world) {
		var acked, handled log[string]
		more := make(chan bool)
		w.serve(func(p *peer) {
			p.accept()
			for i := range 101 {
				if i == 100 {
					<-more
				}
				p.send(publish(uint16(i+1), fmt.Sprintf("%0200000d", i+1)))
			}
			for packet := p.next(); packet != nil; packet = p.next() {
				if m, ok := packet.(*packets.PubackPacket); ok {
					acked.add(fmt.Sprint(m.MessageID))
				}
				p.answer(packet)
			}
		})
		s := w.connect()
		synctest.Wait()
		s.Attach(func(m transport.Message) bool {
			handled.add(strings.TrimLeft(string(m.Payload), "0"))
			m.Ack()
			return true
		})
		w.wantSeen("handled", &handled, numbers(1, 41)...) // 8 MiB
		close(more)
		w.wantSeen("handled when there is room again", &handled, append(numbers(1, 41), "101")...)
		w.wantSeen("acknowledged", &acked, append(numbers(1, 41), "101")...)
	})
}

// The hub goes on sending, and does not read the acknowledgements.
func TestMessagesWhoseAcknowledgementsWaitAreBounded(t *testing.T) {
	inBubble(t, func(w *world) {
		var handled log[string]
		ask := make(chan bool)
		w.serve(func(p *peer) {
			p.accept()
			<-ask
			for i := range 100 {
				p.send(publish(uint16(i+1), strings.Repeat("x", 1_000_000)))
			}
			p.answerAll()
		})
		var v *valve
		s := w.connect(withValve(&v))
		s.Attach(func(m transport.Message) bool { handled.add(""); m.Ack(); return true })
		v.stop()
		for range 64 { // so many bytes that the acknowledgements have to wait
			if err := s.Publish(w.Context(), "t", 1, make([]byte, 1000), func(error) {}); err != nil {
				w.Fatal(err)
			}
		}
		synctest.Wait()
		close(ask)
		synctest.Wait()
		if n := len(handled.all()); n < 8 || n > 16 { // one more for each acknowledgement that paho has taken
			w.Errorf("%d messages of 1 MB were handled", n)
		}
		v.release()
	})
}

func TestAttachAndDetachWaitForTheRunningHandlerOnly(t *testing.T) {
	for name, next := range map[string]func(s *transport.Session, over chan struct{}){
		"Detach": func(s *transport.Session, _ chan struct{}) { s.Detach() },
		"Attach": func(s *transport.Session, over chan struct{}) {
			s.Attach(func(transport.Message) bool { <-over; return true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t}
			w.deliver(3)
			s := w.connect()
			over := make(chan struct{})
			t.Cleanup(func() { close(over) })
			running, finish, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
			s.Attach(func(transport.Message) bool { close(running); <-finish; return true })
			<-running
			go func() { next(s, over); close(returned) }()
			select {
			case <-returned:
				t.Error("it did not wait for the handler")
			case <-time.After(20 * time.Millisecond):
			}
			close(finish)
			select {
			case <-returned:
			case <-time.After(5 * time.Second):
				t.Error("it waits for more than the handler that ran")
			}
		})
	}
}

func TestARedeliveredMessageIsMarkedAsDuplicate(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) {
			p.accept()
			again := publish(7, "again").(*packets.PublishPacket)
			again.Dup = true
			p.send(again)
			p.send(publish(0, "new"))
			p.answerAll()
		})
		var got log[string]
		s := w.connect()
		s.Attach(func(m transport.Message) bool {
			got.add(fmt.Sprint(m.Topic, " ", string(m.Payload), " ", m.Duplicate))
			m.Ack()
			return true
		})
		w.wantSeen("handled", &got, "to/device again true", "to/device new false")
	})
}

func TestNoHandlerIsCalledAfterTheEndOfTheSession(t *testing.T) {
	inBubble(t, func(w *world) {
		w.deliver(10)
		s := w.connect()
		synctest.Wait()
		w.close(s)
		s.Attach(func(transport.Message) bool { w.Error("called"); return true })
		synctest.Wait()
		s.Detach()
	})
}
