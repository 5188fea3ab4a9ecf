package transport_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/transport"
)

// handshakeWith answers the TLS handshake with a certificate, and then reads until the end.
func handshakeWith(certificate tls.Certificate) func(net.Conn) {
	return func(conn net.Conn) {
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}).Handshake()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// afterCONNECT calls do after the TLS handshake and CONNECT.
func afterCONNECT(do func(p *peer)) func(net.Conn) {
	return func(conn net.Conn) {
		p := &peer{Conn: tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{good}}), raw: conn}
		if p.next() != nil {
			do(p)
		}
	}
}

const notMQTT = "HTTP/1.1 400 Bad Request\r\n\r\n"

func answers(bytes string) func(net.Conn) {
	return afterCONNECT(func(p *peer) { io.WriteString(p, bytes); p.answerNone() })
}

func readOnce(conn net.Conn) { conn.Read(make([]byte, 1<<14)) }

func TestEachFailureToConnectHasItsReason(t *testing.T) {
	for name, c := range map[string]struct {
		peer func(net.Conn)
		want transport.Reason
	}{
		"FIN in the TLS handshake": {readOnce, transport.Closed},
		"RST in the TLS handshake": {func(c net.Conn) { readOnce(c); reset(c) }, transport.Reset},
		"plain text":               {func(c net.Conn) { io.WriteString(c, notMQTT); readOnce(c) }, transport.TLSFailed},
		"an unknown authority":     {handshakeWith(foreign), transport.TLSFailed},
		"an expired certificate":   {handshakeWith(expired), transport.TLSFailed},
		"another's certificate":    {handshakeWith(wrongName), transport.TLSFailed},
		"a certificate is wanted": {func(c net.Conn) {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{good},
				ClientAuth: tls.RequireAnyClientCert}).Handshake()
			readOnce(c)
		}, transport.TLSFailed},
		"FIN after CONNECT":        {afterCONNECT(func(*peer) {}), transport.Closed},
		"RST after CONNECT":        {afterCONNECT((*peer).reset), transport.Reset},
		"CONNACK 1":                {answers("\x20\x02\x00\x01"), transport.ConnectRejected},
		"CONNACK 2":                {answers("\x20\x02\x00\x02"), transport.ConnectRejected},
		"CONNACK 3":                {answers("\x20\x02\x00\x03"), transport.ServerUnavailable},
		"CONNACK 4":                {answers("\x20\x02\x00\x04"), transport.BadCredentials},
		"CONNACK 5":                {answers("\x20\x02\x00\x05"), transport.NotAuthorized},
		"CONNACK 6":                {answers("\x20\x02\x00\x06"), transport.ConnectRejected},
		"CONNACK 254":              {answers("\x20\x02\x00\xfe"), transport.ConnectRejected},
		"CONNACK 255":              {answers("\x20\x02\x00\xff"), transport.ConnectRejected},
		"half a CONNACK, then FIN": {afterCONNECT(func(p *peer) { p.Write([]byte{0x20, 2, 0}) }), transport.Closed},
		"a CONNACK without a code": {answers("\x20\x01\x00"), transport.ProtocolBroken},
		"something else first":     {answers("\xd0\x00"), transport.ProtocolBroken},
		"no MQTT":                  {answers(notMQTT), transport.ProtocolBroken},
		"a packet without measure": {answers("\x30\xff\xff\xff\x7f"), transport.ProtocolBroken},
		"a length that has no end": {answers("\x20\x80\x80\x80\x80\x80\x00"), transport.ProtocolBroken},
		"CONNACK 5, then RST": {afterCONNECT(func(p *peer) {
			p.send(connack(5))
			readOnce(p.raw)
			p.reset()
		}), transport.NotAuthorized},
		"CONNACK 3 and more behind": {answers("\x20\x02\x00\x03\xd0\x00"), transport.ServerUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(w *world) {
				w.listen(c.peer)
				start := time.Now()
				_, err := transport.Connect(w.Context(), w.config())
				w.wantReason(err, c.want)
				w.wantTook(start, 0)
				var e *transport.Error
				if !errors.As(err, &e) || e.Host != w.host {
					w.Errorf("%#v does not name the host", err)
				}
			})
		})
	}
}

func TestConnectWaitsFiveSecondsForAnAnswer(t *testing.T) {
	for name, peer := range map[string]func(net.Conn){
		"and never answers the TLS hello": func(c net.Conn) { io.Copy(io.Discard, c) },
		"and never answers CONNECT":       afterCONNECT((*peer).answerNone),
		"and sends half a CONNACK":        answers("\x20\x02\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(w *world) {
				w.listen(peer)
				c, timeout := w.config(), 5*time.Second
				if w.network == nil {
					timeout = 200 * time.Millisecond
					c.ConnectTimeout = timeout
				}
				start := time.Now()
				_, err := transport.Connect(w.Context(), c)
				w.wantReason(err, transport.TimedOut)
				w.wantTook(start, timeout)
				if e, ok := errors.AsType[*transport.Error](err); !ok || !e.Stalled {
					w.Errorf("%v does not say that the peer accepted the connection", err)
				}
			})
		})
	}
}

func TestADialKeepsItsTimeoutWhereAnAnswerMayTakeLonger(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config()
		c.Host, c.AnswerTimeout = "hub.example", time.Minute
		c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		start := time.Now()
		_, err := transport.Connect(w.Context(), c)
		w.wantReason(err, transport.TimedOut)
		w.wantTook(start, 5*time.Second)
		if e, ok := errors.AsType[*transport.Error](err); !ok || e.Stalled {
			w.Errorf("%v: it says that the peer accepted the connection", err)
		}
	})
}

func TestAnAnswerMayTakeAsLongAsItsTimeoutSays(t *testing.T) {
	inBubble(t, func(w *world) {
		w.network.SetLatency(4 * time.Second)
		w.serve(func(p *peer) { p.accept(); p.answerAll() })
		w.connect(func(c *transport.Config) { c.ConnectTimeout, c.AnswerTimeout = 10*time.Second, 10*time.Second })
	})
}

// Where each round trip takes three seconds, TLS and CONNACK together take longer than ConnectTimeout.
func TestConnectSucceedsWhenEachRoundTripTakesThreeSeconds(t *testing.T) {
	inBubble(t, func(w *world) {
		w.network.SetLatency(1500 * time.Millisecond)
		w.serve(func(p *peer) { p.accept(); p.answerAll() })
		start := time.Now()
		s := w.connect()
		if took := time.Since(start); took < 6*time.Second {
			w.Errorf("it took only %v", took)
		}
		time.Sleep(time.Minute)
		if err := s.Cause(); err != nil {
			w.Error(err)
		}
	})
}

func TestConnectEndsAfterHalfAMinuteWhateverThePeerSends(t *testing.T) {
	inBubble(t, func(w *world) {
		w.listen(func(c net.Conn) {
			readOnce(c)
			io.WriteString(c, "\x16\x03\x03\x40\x00") // a TLS record of 16 KiB
			for {
				if _, err := c.Write([]byte{2}); err != nil {
					return
				}
				time.Sleep(3 * time.Second)
			}
		})
		start := time.Now()
		_, err := transport.Connect(w.Context(), w.config())
		w.wantReason(err, transport.TimedOut)
		w.wantTook(start, 30*time.Second)
	})
}

func TestConnectToAClosedPortIsRefused(t *testing.T) {
	everywhere(t, func(w *world) {
		w.listen(func(net.Conn) {})
		c := w.config()
		c.Host = "127.0.0.1:1"
		_, err := transport.Connect(w.Context(), c)
		w.wantReason(err, transport.ConnectionRefused)
	})
}

// dialNXDOMAIN connects a resolver to a name server that knows no name.
func dialNXDOMAIN(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		var length [2]byte
		io.ReadFull(far, length[:])
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		io.ReadFull(far, query)
		query[2], query[3] = query[2]|0x80, 3 // an answer: NXDOMAIN
		far.Write(append(length[:], query...))
	}()
	return near, nil
}

func TestConnectToAnUnknownNameFails(t *testing.T) {
	w := &world{T: t, host: "hub.example."}
	c := w.config()
	c.Dial = (&net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: dialNXDOMAIN}}).DialContext
	_, err := transport.Connect(t.Context(), c)
	w.wantReason(err, transport.NameNotFound)
}

func TestEachDialErrorHasItsReason(t *testing.T) {
	number := func(n syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", n)}
	}
	for name, c := range map[string]struct {
		err  error
		want transport.Reason
	}{
		"no route":                   {number(syscall.EHOSTUNREACH), transport.Unreachable},
		"no network":                 {number(syscall.ENETUNREACH), transport.Unreachable},
		"refused":                    {number(syscall.ECONNREFUSED), transport.ConnectionRefused},
		"reset":                      {number(syscall.ECONNRESET), transport.Reset},
		"the system's own time-out":  {number(syscall.ETIMEDOUT), transport.TimedOut},
		"refused, on Windows":        {number(10061), transport.ConnectionRefused},
		"reset, on Windows":          {number(10054), transport.Reset},
		"no route, on Windows":       {number(10065), transport.Unreachable},
		"timed out, on Windows":      {number(10060), transport.TimedOut},
		"DNS did not answer in time": {&net.OpError{Err: &net.DNSError{IsTimeout: true}}, transport.TimedOut},
		"DNS has failed":             {&net.DNSError{IsTemporary: true}, transport.NameNotFound},
		"a proxy's own reason": {
			&transport.Error{Reason: transport.ConnectionRefused}, transport.ConnectionRefused,
		},
		"anything else": {errors.New("the proxy says no"), transport.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t, host: "hub.example"}
			config := w.config()
			config.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, c.err }
			_, err := transport.Connect(t.Context(), config)
			w.wantReason(err, c.want)
			if !errors.Is(err, c.err) {
				t.Errorf("%v hides its cause", err)
			}
		})
	}
}

func TestAnInvalidHostNameIsNotDialed(t *testing.T) {
	w := &world{T: t, host: "https://hub.example/"}
	c := w.config()
	c.Dial = func(context.Context, string, string) (net.Conn, error) { t.Error("dialed"); return nil, io.EOF }
	_, err := transport.Connect(t.Context(), c)
	w.wantReason(err, transport.NameNotFound)
}

func TestAnUnreadableKeyHasItsReason(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve((*peer).answerNone)
		c := w.config()
		c.Password = func(time.Time) (string, error) { return "", errors.New("no key file") }
		_, err := transport.Connect(w.Context(), c)
		w.wantReason(err, transport.KeyUnusable)
	})
}

func TestTheContextEndsConnect(t *testing.T) {
	never := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	for name, c := range map[string]struct {
		peer func(net.Conn)
		dial transport.DialFunc
	}{
		"while dialing":           {nil, never},
		"during the handshake":    {func(c net.Conn) { io.Copy(io.Discard, c) }, nil},
		"while CONNECT waits":     {afterCONNECT((*peer).answerNone), nil},
		"while CONNACK is coming": {answers("\x20\x02"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.listen(c.peer)
				config := w.config()
				if c.dial != nil {
					config.Dial = c.dial
				}
				ctx, cancel := context.WithCancel(w.Context())
				time.AfterFunc(time.Second, cancel)
				start := time.Now()
				_, err := transport.Connect(ctx, config)
				w.wantReason(err, transport.ClosedLocally)
				w.wantTook(start, time.Second)
				if !errors.Is(err, context.Canceled) {
					w.Errorf("%v does not say that the caller ended it", err)
				}
			})
		})
	}
}

// Either may come first.
func TestNothingLeaksWhenTheContextEndsTogetherWithCONNACK(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) {
			p.next()
			time.Sleep(time.Second)
			p.send(connack(0))
			p.answerAll()
		})
		for range 100 {
			ctx, cancel := context.WithTimeout(w.Context(), time.Second)
			s, err := transport.Connect(ctx, w.config())
			cancel()
			if err == nil {
				w.close(s)
			} else {
				w.wantReason(err, transport.TimedOut)
			}
		}
	})
}
