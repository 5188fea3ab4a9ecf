package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/payloads"
)

// DialFunc opens a connection; (*net.Dialer).DialContext is one. It is the seam for proxies, in-memory networks and faults.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// KeySource reads the device's key. It is asked again at each dial, so a rotated key needs no restart. Why it could not is
// shown when it returns a *KeyError.
type KeySource func() (Key, error)

// RootSource is the certificate roots to trust. It is asked again at each dial, so a replaced certificate authority needs no restart.
type RootSource func() *x509.CertPool

// A Config says to whom a session speaks, as whom, and what counts as dead. The zero durations mean the defaults.
type Config struct {
	Host         string // as DPS or the operator names it, a port included when there is one; 8883 otherwise
	ClientID     string
	Username     string
	Password     func(now time.Time) (string, error) // asked at each dial; nil: none
	CleanSession bool

	Dial    DialFunc         // nil: TCP
	Now     func() time.Time // the wall clock, by which tokens are made and certificates judged; nil: time.Now
	RootCAs RootSource       // asked at each dial; nil means the system's certificate roots

	ConnectTimeout time.Duration // a peer that says nothing for so long before CONNACK is given up; 5 s
	KeepAlive      time.Duration // a ping when nothing was read for this long; 6 s, and half of Silence at most
	Silence        time.Duration // nothing read for this long is a dead link, unless much is on its way; twice KeepAlive
	WriteTimeout   time.Duration // 16 KiB of a packet that the peer does not take within this time are a dead link; 10 s
}

// connectLimit bounds dial, TLS and CONNACK together: so many times ConnectTimeout. On a network where an answer takes
// seconds they take longer than ConnectTimeout although the peer is there.
const connectLimit = 6

const (
	defaultPort           = "8883"
	defaultConnectTimeout = 5 * time.Second
	defaultKeepAlive      = 6 * time.Second
	defaultWriteTimeout   = 10 * time.Second
)

func (c Config) withDefaults() Config {
	orElse := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orElse(&c.ConnectTimeout, defaultConnectTimeout)
	orElse(&c.WriteTimeout, defaultWriteTimeout)
	orElse(&c.KeepAlive, defaultKeepAlive)
	orElse(&c.Silence, 2*c.KeepAlive)
	c.KeepAlive = min(c.KeepAlive, c.Silence/2)
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Password == nil {
		c.Password = func(time.Time) (string, error) { return "", nil }
	}
	return c
}

// hubKeepAlive is what CONNECT names. A hub ends a connection that is silent for half as long again: with our own KeepAlive it
// would do so in a stall that we are to live through. 1177 s is the most that IoT Hub takes.
func (c Config) hubKeepAlive() time.Duration {
	return min((4*c.KeepAlive + time.Second - 1).Truncate(time.Second), 1177*time.Second)
}

// dial opens the connection: TCP to the host's address, then TLS to its name. The port is for dialing only.
// TLS 1.2 is what IoT Hub and DPS promise; the upper end is left open.
func (c Config) dial(ctx context.Context) (conn, raw net.Conn, err error) {
	host, port, err := payloads.HostPort(c.Host, defaultPort)
	if err != nil {
		return nil, nil, &Error{Reason: NameNotFound, Host: c.Host, Err: err}
	}
	dialing, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	raw, err = c.Dial(dialing, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, nil, &Error{Reason: reasonFor(err), Host: c.Host, Err: err}
	}
	raw = &opening{Conn: raw, limit: c.ConnectTimeout}
	var roots *x509.CertPool
	if c.RootCAs != nil {
		roots = c.RootCAs()
	}
	secure := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: roots, Time: c.Now, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		reason := reasonFor(err)
		if reason == Unknown {
			reason = TLSFailed
		}
		return nil, nil, &Error{Reason: reason, Host: c.Host, Err: err}
	}
	return secure, raw, nil
}

// An opening connection is waited for anew at each Read, until somebody sets a deadline, which is after CONNACK.
type opening struct {
	net.Conn
	limit time.Duration
	open  atomic.Bool
}

func (o *opening) Read(p []byte) (int, error) {
	if !o.open.Load() {
		_ = o.Conn.SetReadDeadline(time.Now().Add(o.limit))
	}
	return o.Conn.Read(p)
}

func (o *opening) SetDeadline(t time.Time) error {
	o.open.Store(true)
	return o.Conn.SetDeadline(t)
}
