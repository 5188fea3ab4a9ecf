package transport_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/transport"
)

func TestSilenceEndsTheSessionAfterTwelveSeconds(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerNone() })
		start := time.Now()
		s := w.connect()
		w.wantEnd(s, transport.Silence)
		w.wantTook(start, 12*time.Second)
	})
}

func TestSilenceEndsTheSessionAlsoWhilePublishing(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerNone() })
		start := time.Now()
		s := w.connect()
		var talking sync.WaitGroup
		talking.Go(func() {
			for s.Publish(w.Context(), "t", 1, nil, func(error) {}) == nil {
				time.Sleep(100 * time.Millisecond)
			}
		})
		defer talking.Wait()
		w.wantEnd(s, transport.Silence)
		w.wantTook(start, 12*time.Second)
	})
}

func TestSilenceEndsTheSessionOverSockets(t *testing.T) {
	w := &world{T: t}
	w.serve(func(p *peer) { p.accept(); p.answerNone() })
	start := time.Now()
	s := w.connect(func(c *transport.Config) { c.Silence = 200 * time.Millisecond })
	w.wantEnd(s, transport.Silence)
	w.wantTook(start, 200*time.Millisecond)
}

// The network delays everything for five seconds, which may begin at any time. The peer has the timeout of a hub.
func TestASessionSurvivesAStallOfFiveSeconds(t *testing.T) {
	for _, busy := range []bool{false, true} {
		for phase := 10 * time.Second; phase < 23*time.Second; phase += 250 * time.Millisecond {
			inBubble(t, func(w *world) {
				const usual, stall = 50 * time.Millisecond, 5 * time.Second
				w.network.SetLatency(usual)
				w.serve(func(p *peer) { p.accept(); p.answerAll() })
				s := w.connect()
				if busy {
					go publishAndWait(s, w.Context(), "t", 1, nil)
				}
				time.Sleep(phase)
				w.network.SetLatency(stall)
				time.Sleep(stall)
				w.network.SetLatency(usual)
				time.Sleep(time.Minute)
				if err := s.Cause(); err != nil {
					w.Errorf("a stall after %v, busy %t: %v", phase, busy, err)
				}
			})
		}
	}
}

func TestASessionLivesWithTrafficInOneDirectionOrNone(t *testing.T) {
	for name, script := range map[string]func(*peer){
		"in none": (*peer).answerAll,
		"towards the device": func(p *peer) {
			go func() {
				for range 3600 {
					p.send(publish(0, "x"))
					time.Sleep(time.Second)
				}
			}()
			p.answerAll()
		},
		"towards a hub that acknowledges late": func(p *peer) {
			for packet := p.next(); packet != nil; packet = p.next() {
				if m, ok := packet.(*packets.PublishPacket); ok {
					time.AfterFunc(50*time.Second, func() { p.answer(m) })
				} else {
					p.answer(packet)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve(func(p *peer) { p.accept(); script(p) })
				s := w.connect()
				start := time.Now()
				if strings.Contains(name, "late") {
					if err := publishAndWait(s, w.Context(), "t", 1, nil); err != nil {
						w.Error(err)
					}
					w.wantTook(start, 50*time.Second)
				}
				time.Sleep(time.Hour)
				if err := s.Cause(); err != nil {
					w.Errorf("it ended after %v: %v", time.Since(start), err)
				}
			})
		})
	}
}

func TestPingsAreSentOnceInKeepAlive(t *testing.T) {
	inBubble(t, func(w *world) {
		var pings log[time.Time]
		w.serve(func(p *peer) {
			p.accept()
			for packet := p.next(); packet != nil; packet = p.next() {
				if _, ok := packet.(*packets.PingreqPacket); ok {
					pings.add(time.Now())
				}
				p.answer(packet)
			}
		})
		w.connect()
		time.Sleep(time.Hour)
		if n := len(pings.all()); n < 600 || n > 750 {
			w.Errorf("%d pings in an hour", n)
		}
	})
}

func TestAnyKeepAliveAndSilenceWorkTogether(t *testing.T) {
	for _, c := range []struct{ keepAlive, silence, noticed time.Duration }{
		{0, 0, 12 * time.Second},
		{30 * time.Second, 0, time.Minute},
		{0, 8 * time.Second, 8 * time.Second},
		{20 * time.Second, 10 * time.Second, 10 * time.Second},
		{500 * time.Millisecond, 0, time.Second},
	} {
		t.Run(fmt.Sprint(c.keepAlive, c.silence), func(t *testing.T) {
			inBubble(t, func(w *world) {
				var answerNone atomic.Bool
				w.serve(func(p *peer) {
					p.accept()
					for packet := p.next(); packet != nil; packet = p.next() {
						if !answerNone.Load() {
							p.answer(packet)
						}
					}
				})
				alive := w.connect(func(t *transport.Config) { t.KeepAlive, t.Silence = c.keepAlive, c.silence })
				time.Sleep(10 * time.Minute)
				if err := alive.Cause(); err != nil {
					w.Fatalf("an idle session has ended: %v", err)
				}
				answerNone.Store(true)
				start := time.Now()
				s := w.connect(func(t *transport.Config) { t.KeepAlive, t.Silence = c.keepAlive, c.silence })
				w.wantEnd(s, transport.Silence)
				w.wantTook(start, c.noticed)
			})
		})
	}
}

// The peer goes on sending, so that there is no silence, but does not read.
func TestAStalledWriteEndsTheSessionAfterTenSeconds(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) {
			p.accept()
			for p.Conn != nil {
				if _, err := p.Write([]byte{0xd0, 0}); err != nil {
					return
				}
				time.Sleep(7 * time.Second)
			}
		})
		var v *valve
		s := w.connect(withValve(&v))
		v.stop()
		start := time.Now()
		w.wantReason(publishAndWait(s, w.Context(), "t", 1, nil), transport.WriteStalled)
		w.wantEnd(s, transport.WriteStalled)
		w.wantTook(start, 10*time.Second)
	})
}

func TestAStalledWriteEndsTheSessionOverSockets(t *testing.T) {
	w := &world{T: t}
	stop := make(chan struct{})
	w.serve(func(p *peer) { p.accept(); <-stop })
	s := w.connect(func(c *transport.Config) { c.WriteTimeout = 300 * time.Millisecond })
	for s.Cause() == nil {
		_ = s.Publish(t.Context(), "t", 0, make([]byte, 1<<20), func(error) {})
	}
	close(stop)
	w.wantEnd(s, transport.WriteStalled)
}

// A peer can read nothing of a TLS record before it has the whole record.
func TestASlowNetworkIsNoSilence(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerAll() })
		s := w.connect(slowly(400), func(c *transport.Config) { c.ConnectTimeout = time.Minute })
		ctx, cancel := context.WithTimeout(w.Context(), 10*time.Minute)
		defer cancel()
		window := make(chan error, 64)
		for ctx.Err() == nil && s.Cause() == nil {
			select {
			case window <- nil:
				_ = s.Publish(ctx, "devices/dev1/messages/events/", 1, make([]byte, 250), func(error) { <-window })
			case <-ctx.Done():
			case <-s.Ended():
			}
		}
		if err := s.Cause(); err != nil {
			w.Error(err)
		}
	})
}

// A slowConn is a network of some bytes a second, behind a buffer that takes everything.
type slowConn struct {
	net.Conn
	buffer chan []byte
	ended  chan struct{}
	once   sync.Once
}

func slowly(rate int) func(*transport.Config) {
	return func(c *transport.Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			t := &slowConn{Conn: conn, buffer: make(chan []byte, 1000), ended: make(chan struct{})}
			go t.run(rate)
			return t, nil
		}
	}
}

func (t *slowConn) run(rate int) {
	for {
		select {
		case some := <-t.buffer:
			for part := range slices.Chunk(some, 100) {
				select {
				case <-time.After(time.Duration(len(part)) * time.Second / time.Duration(rate)):
					_, _ = t.Conn.Write(part) // the session notices
				case <-t.ended:
					return
				}
			}
		case <-t.ended:
			return
		}
	}
}

func (t *slowConn) Write(p []byte) (int, error) {
	select {
	case t.buffer <- slices.Clone(p):
		return len(p), nil
	case <-t.ended:
		return 0, net.ErrClosed
	}
}

func (t *slowConn) Close() error {
	t.once.Do(func() { close(t.ended) })
	return t.Conn.Close()
}

// paho fails calls after a second, which the caller must not notice.
func TestAStalledWriterLosesAndDuplicatesNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		var got log[string]
		w.serve(func(p *peer) {
			p.accept()
			for packet := p.next(); packet != nil; packet = p.next() {
				switch m := packet.(type) {
				case *packets.PublishPacket:
					got.add(string(m.Payload))
				case *packets.SubscribePacket:
					got.add(m.Topics[0])
				}
				p.answer(packet)
			}
		})
		var v *valve
		s := w.connect(withValve(&v))
		v.stop()
		time.AfterFunc(4500*time.Millisecond, v.release)
		want, done := []string{}, make(chan error, 10)
		for i := range 10 {
			want = append(want, fmt.Sprint(i))
			if err := s.Publish(w.Context(), "t", 1, []byte(want[i]), func(err error) { done <- err }); err != nil {
				w.Fatal(err)
			}
		}
		if err := s.Subscribe(w.Context(), 1, "filter"); err != nil {
			w.Error(err)
		}
		for range 10 {
			if err := <-done; err != nil {
				w.Error(err)
			}
		}
		if all := got.all(); !slices.Equal(all, append(want, "filter")) {
			w.Errorf("the peer has %q", all)
		}
	})
}

// A slowReader reads rate bytes a second, as a peer on a slow network does.
type slowReader struct {
	net.Conn
	rate int
}

func (c slowReader) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), 1<<10)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(c.rate))
	return n, err
}

// serveSlowly is serve for a peer that reads rate bytes a second.
func (w *world) serveSlowly(rate int, script func(p *peer)) {
	w.listen(func(raw net.Conn) {
		conn := tls.Server(slowReader{raw, rate}, &tls.Config{Certificates: []tls.Certificate{good}})
		if conn.Handshake() == nil {
			script(&peer{Conn: conn, raw: raw})
		}
	})
}

func TestALargePacketOnASlowNetworkIsNoSilence(t *testing.T) {
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serveSlowly(5<<10, func(p *peer) { p.accept(); p.timeout = 0; p.answerAll() })
				s := w.connect()
				start := time.Now()
				for range 3 {
					if err := publishAndWait(s, w.Context(), "t", qos, make([]byte, 250<<10)); err != nil {
						w.Fatalf("after %v: %v", time.Since(start), err)
					}
					time.Sleep(time.Minute)
				}
				if err := s.Cause(); err != nil {
					w.Error(err)
				}
			})
		})
	}
}

// The extension is at most a minute.
func TestALargePacketExtendsSilenceUntilItHasArrived(t *testing.T) {
	for _, c := range []struct {
		size    int
		noticed time.Duration
	}{{4000, 12 * time.Second}, {29 << 10, 37 * time.Second}, {800 << 10, 72 * time.Second}} {
		t.Run(fmt.Sprint(c.size), func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve(func(p *peer) {
					p.accept()
					for range 3 {
						p.answer(p.next())
					}
					p.answerNone()
				})
				s := w.connect()
				for range 3 {
					if err := publishAndWait(s, w.Context(), "t", 1, make([]byte, c.size)); err != nil {
						w.Fatal(err)
					}
				}
				start := time.Now()
				go publishAndWait(s, w.Context(), "t", 1, make([]byte, c.size))
				w.wantEnd(s, transport.Silence)
				if took := time.Since(start).Truncate(time.Second); took != c.noticed {
					w.Errorf("noticed after %v, want %v", took, c.noticed)
				}
			})
		})
	}
}

// A slowWriter writes rate bytes a second, and fails when its deadline passes.
type slowWriter struct {
	net.Conn
	rate     int
	deadline atomic.Pointer[time.Time]
}

func (c *slowWriter) SetWriteDeadline(t time.Time) error { c.deadline.Store(&t); return nil }

func (c *slowWriter) Write(p []byte) (int, error) {
	for at := range slices.Chunk(p, 1<<10) {
		time.Sleep(time.Duration(len(at)) * time.Second / time.Duration(c.rate))
		if d := c.deadline.Load(); d != nil && !d.IsZero() && time.Now().After(*d) {
			return 0, os.ErrDeadlineExceeded
		}
	}
	return c.Conn.Write(p)
}

func TestALargePacketThatIsReadSlowlyIsNoStall(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerAll() })
		s := w.connect(func(c *transport.Config) {
			dial := c.Dial
			c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				return &slowWriter{Conn: conn, rate: 10 << 10}, err
			}
		})
		start := time.Now()
		if err := publishAndWait(s, w.Context(), "t", 1, make([]byte, 250<<10)); err != nil {
			w.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}
