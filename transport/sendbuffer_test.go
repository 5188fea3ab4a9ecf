package transport_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/transport"
)

// A message in the send buffer has not been written.
func TestDoneIsCalledAtQoS0WhenTheMessageIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*valve)
		want transport.Reason
	}{
		"and never is": {func(v *valve) { v.Close() }, transport.ClosedLocally},
		"late":         {(*valve).release, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve(func(p *peer) { p.accept(); p.answerAll() })
				var v *valve
				s := w.connect(withValve(&v))
				v.stop()
				results := make(chan error, 2)
				for range cap(results) { // the first is being written, the second is in the buffer
					if err := s.Publish(w.Context(), "t", 0, nil, func(err error) { results <- err }); err != nil {
						w.Fatal(err)
					}
					synctest.Wait()
				}
				select {
				case err := <-results:
					w.Fatalf("nothing has been written, and done was called with %v", err)
				default:
				}
				c.end(v)
				for range cap(results) {
					if err := <-results; c.want != "" {
						w.wantReason(err, c.want)
					} else if err != nil {
						w.Error(err)
					}
				}
			})
		})
	}
}

// After any other answer paho would reuse the message's identifier.
func TestOnlyPUBACKAcknowledgesAMessageAtQoS1(t *testing.T) {
	for name, answer := range map[string]string{
		"UNSUBACK": "\xb0\x02\x00\x01", "an empty SUBACK": "\x90\x02\x00\x01", "PUBCOMP": "\x70\x02\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve(func(p *peer) {
					p.accept()
					m := p.next()
					p.Write([]byte(answer))
					time.Sleep(time.Second)
					p.answer(m)
					p.answerAll()
				})
				s := w.connect()
				start := time.Now()
				ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
				defer cancel()
				if err := publishAndWait(s, ctx, "t", 1, nil); err != nil {
					w.Error(err)
				}
				w.wantTook(start, time.Second)
			})
		})
	}
}

func TestOnlyPUBCOMPAcknowledgesAMessageAtQoS2(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) {
			p.accept()
			p.next()
			p.Write([]byte("\x50\x02\x00\x01"))
			p.next() // PUBREL
			p.Write([]byte("\x70\x02\x00\x01"))
			p.answerAll()
		})
		s := w.connect()
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		if err := publishAndWait(s, ctx, "t", 2, nil); err != nil {
			w.Error(err)
		}
	})
}

// Over sockets, because a deadlock over a mutex would stop the clock of a bubble.
func TestDoneMayCallASessionThatHasEnded(t *testing.T) {
	slow.Test(t)
	w := &world{T: t}
	release := make(chan struct{})
	w.serve(func(p *peer) { p.accept(); <-release })
	s := w.connect()
	var done sync.WaitGroup
	for full := false; !full; { // the last call waits for paho
		ctx, cancel := context.WithTimeout(w.Context(), 300*time.Millisecond)
		done.Add(1)
		err := s.Publish(ctx, "t", 1, make([]byte, 256<<10), func(error) {
			defer done.Done()
			w.wantReason(s.Publish(w.Context(), "t", 1, nil, func(error) {}), transport.ClosedLocally)
		})
		if full = err != nil; full {
			done.Done()
		}
		cancel()
	}
	w.close(s)
	close(release)
	if !t.Failed() {
		done.Wait()
	}
}

// A gate, once it is shut, lets one write pass for each value of pass.
type gate struct {
	net.Conn
	shut atomic.Bool
	pass chan struct{}
	gone chan struct{}
	once sync.Once
}

func (g *gate) Write(p []byte) (int, error) {
	if g.shut.Load() {
		select {
		case <-g.pass:
		case <-g.gone:
			return 0, net.ErrClosed
		}
	}
	return g.Conn.Write(p)
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.gone) })
	return g.Conn.Close()
}

func TestMessagesAreCollectedDuringAWrite(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerAll() })
		var g *gate
		s := w.connect(func(c *transport.Config) {
			dial := c.Dial
			c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				g = &gate{Conn: conn, pass: make(chan struct{}), gone: make(chan struct{})}
				return g, err
			}
		})
		// Before so many bytes, TLS makes small records.
		if err := publishAndWait(s, w.Context(), "t", 1, make([]byte, 256<<10)); err != nil {
			w.Fatal(err)
		}
		g.shut.Store(true)
		var started atomic.Int64
		var starting sync.WaitGroup
		defer starting.Wait()
		starting.Go(func() {
			for s.Publish(w.Context(), "t", 1, make([]byte, 1000), func(error) {}) == nil {
				started.Add(1)
			}
		})
		synctest.Wait() // all queues are full
		before := started.Load()
		g.pass <- struct{}{} // now the next batch is being written
		synctest.Wait()
		if n := started.Load() - before; n < 4 {
			w.Errorf("there was room for %d more, want 4", n)
		}
		w.close(s)
	})
}

func TestCloseSendsEverythingAfterAShortStall(t *testing.T) {
	for _, n := range []int{0, 1, 5, 30, 64} {
		inBubble(t, func(w *world) {
			var got log[string]
			ended := make(chan struct{})
			w.serve(func(p *peer) {
				defer close(ended)
				p.accept()
				for packet := p.next(); packet != nil; packet = p.next() {
					switch m := packet.(type) {
					case *packets.PublishPacket:
						got.add(m.TopicName)
					case *packets.DisconnectPacket:
						got.add("DISCONNECT")
					}
				}
			})
			var v *valve
			s := w.connect(withValve(&v))
			v.stop()
			var want []string
			for i := range n {
				want = append(want, fmt.Sprint(i))
				if err := s.Publish(w.Context(), want[i], byte(i%2), make([]byte, 1000), func(error) {}); err != nil {
					w.Fatal(err)
				}
			}
			synctest.Wait()
			time.AfterFunc(500*time.Millisecond, v.release)
			w.close(s)
			<-ended
			if all := got.all(); !slices.Equal(all, append(want, "DISCONNECT")) {
				w.Errorf("the peer has %q", all)
			}
		})
	}
}
