package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/settings"
)

// A DialFunc opens a connection, as (*net.Dialer).DialContext does. Use it for proxies, networks in
// memory and faults.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A KeySource returns the device's key. It is called at each dial, so that a rotated key needs no
// restart. Of its errors only the text of a *KeyError is shown. A source that hangs makes the attempt
// to connect fail.
type KeySource func() (Key, error)

// A RootSource returns the certificate roots to trust. It is called at each dial, so that a replaced
// certificate authority needs no restart.
type RootSource func() *x509.CertPool

// A Link says how to reach a host, and when a session with that host counts as dead. WithDefaults
// gives zero fields their defaults.
type Link struct {
	// Dial opens the connection. Nil means TCP. A host name with several addresses costs little when some of them
	// are dead: the other family of addresses is tried after 300 ms, and of the remaining ConnectTimeout each
	// address of a family has an equal share, at least 2 s (net.Dialer).
	Dial DialFunc
	// Now is the wall clock, by which tokens are made and certificates are judged. Nil means time.Now.
	Now func() time.Time
	// RootCAs returns the certificate roots to trust. Nil means the system's.
	RootCAs RootSource

	// ConnectTimeout bounds the dial, and AnswerTimeout each later wait for the peer until CONNACK has come. Dial,
	// TLS and CONNACK together may take six times AnswerTimeout. Zero means 5 s for ConnectTimeout, and for
	// AnswerTimeout the same as ConnectTimeout.
	ConnectTimeout, AnswerTimeout time.Duration
	// KeepAlive is the time without a complete TLS record from the peer after which the session sends
	// a ping, in whole seconds from 1 s to 1177 s. A session uses half of Silence if that is shorter.
	// Zero means 6 s, or less if Silence is below 12 s.
	KeepAlive time.Duration
	// Silence is the time without a complete TLS record from the peer after which the session ends. It
	// is longer while large packets are in flight. Zero means twice KeepAlive.
	Silence time.Duration
	// WriteTimeout is how long the peer may take for 16 KiB of a packet before the session ends. Zero
	// means 10 s.
	WriteTimeout time.Duration
}

// A Config describes one session: how to reach the host, and what CONNECT says.
type Config struct {
	Link
	Host         string // host name from DPS or the operator, with a port if the port is not 8883
	ClientID     string
	Username     string
	Password     func(now time.Time) (string, error) // called at each dial, like KeySource; nil means no password
	CleanSession bool
}

// connectLimit times AnswerTimeout bounds dial, TLS and CONNACK together. They are several round
// trips, which take longer than one AnswerTimeout on a network where each takes seconds.
const connectLimit = 6

const (
	defaultPort      = "8883"
	defaultKeepAlive = 6 * time.Second
	// maxKeepAlive is the longest keep-alive that IoT Hub accepts. The hub ends a connection that is
	// silent for one and a half times its keep-alive. Source: azure-docs
	// articles/iot/iot-mqtt-connect-to-iot-hub.md
	maxKeepAlive = 1177 * time.Second
)

// WithDefaults returns l with the defaults in the place of zero fields.
func (l Link) WithDefaults() Link {
	settings.Default(&l.Now, time.Now)
	settings.Default(&l.ConnectTimeout, 5*time.Second)
	settings.Default(&l.AnswerTimeout, l.ConnectTimeout)
	settings.Default(&l.WriteTimeout, 10*time.Second)
	if l.KeepAlive == 0 && l.Silence > 0 {
		l.KeepAlive = min(defaultKeepAlive, max(time.Second, (l.Silence/2).Truncate(time.Second)))
	}
	settings.Default(&l.KeepAlive, defaultKeepAlive)
	settings.Default(&l.Silence, 2*max(l.KeepAlive, 0))
	return l
}

// Check returns a *settings.FieldError for each field that cannot be used, joined. Connect does not
// call it.
func (l Link) Check() error {
	answer := l.AnswerTimeout
	l = l.WithDefaults()
	errs := []error{
		settings.Duration("ConnectTimeout", l.ConnectTimeout), settings.Duration("AnswerTimeout", answer),
		settings.Duration("Silence", l.Silence), settings.Duration("WriteTimeout", l.WriteTimeout),
	}
	if k := l.KeepAlive; k < time.Second || k > maxKeepAlive || k%time.Second != 0 {
		errs = append(errs, settings.Wrong("KeepAlive",
			"is %s: whole seconds, from 1s to %s, which is the most that an IoT hub allows", k, maxKeepAlive))
	} else if l.Silence > 0 && l.Silence <= k {
		errs = append(errs, settings.Wrong("Silence", "is %s: it must be longer than KeepAlive, which is %s, because "+
			"only an unanswered ping shows that the peer is gone; twice as long is good", l.Silence, k))
	}
	return errors.Join(errs...)
}

// pingAfter returns the time without a complete TLS record from the peer after which a ping is
// sent. The peer has the rest of Silence, at least half of it, for its answer.
func (l Link) pingAfter() time.Duration { return min(l.KeepAlive, l.Silence/2) }

// hubKeepAlive returns the keep-alive that CONNECT names: four times pingAfter, rounded up to whole
// seconds, and at most maxKeepAlive. A hub ends a connection that is silent for one and a half
// times its keep-alive: if CONNECT named pingAfter, the hub would end the connection in a stall
// that the session is to survive.
func (l Link) hubKeepAlive() time.Duration {
	return min((4*l.pingAfter() + time.Second - 1).Truncate(time.Second), maxKeepAlive)
}

// dial opens the connection: TCP to the host and port, then TLS for the host name without the port.
// IoT Hub and DPS promise TLS 1.2; a later version is used if the peer has it.
func (c Config) dial(ctx context.Context) (conn, raw net.Conn, err error) {
	failed := func(reason Reason, err error) (conn, raw net.Conn, _ error) {
		return nil, nil, &Error{Reason: reason, Host: c.Host, Err: err}
	}
	host, port, err := payloads.HostPort(c.Host, defaultPort)
	if err != nil {
		return failed(NameNotFound, err)
	}
	dialing, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	dial := c.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err = bounded(dialing, "Dial", func() (net.Conn, error) {
		return dial(dialing, "tcp", net.JoinHostPort(host, port))
	}, closeConn)
	if err != nil {
		return failed(reasonFor(err), err)
	}
	raw = &connectingConn{Conn: raw, timeout: c.AnswerTimeout}
	var roots *x509.CertPool
	if c.RootCAs != nil {
		roots, err = bounded(ctx, "RootCAs", func() (*x509.CertPool, error) { return c.RootCAs(), nil }, nil)
		if err != nil {
			raw.Close()
			return failed(reasonFor(err), err)
		}
	}
	secure := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: roots, Time: c.Now, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		reason := reasonFor(err)
		if reason == Unknown {
			reason = TLSFailed
		}
		return nil, nil, &Error{Reason: reason, Host: c.Host, Stalled: reason == TimedOut, Err: err}
	}
	return secure, raw, nil
}

// A connectingConn bounds each Read by timeout until SetDeadline is called, which happens after
// CONNACK.
type connectingConn struct {
	net.Conn
	timeout   time.Duration
	connected atomic.Bool
}

func (c *connectingConn) Read(p []byte) (int, error) {
	if !c.connected.Load() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.timeout))
	}
	return c.Conn.Read(p)
}

func (c *connectingConn) SetDeadline(t time.Time) error {
	c.connected.Store(true)
	return c.Conn.SetDeadline(t)
}
