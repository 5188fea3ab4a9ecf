package transport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a network, in memory or of sockets, and the peer in it.
type world struct {
	*testing.T
	network *memnet.Network // nil means sockets
	host    string          // the peer's
}

// inBubble runs a test in memory with a fake clock. A goroutine that is left running fails the test.
func inBubble(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(&world{t, memnet.New(), ""}) })
}

// everywhere runs a test in a bubble and over real sockets.
func everywhere(t *testing.T, test func(w *world)) {
	t.Run("in memory", func(t *testing.T) { inBubble(t, test) })
	t.Run("over sockets", func(t *testing.T) { test(&world{t, nil, ""}) })
}

// listen calls serve for each connection and closes it when serve returns.
func (w *world) listen(serve func(net.Conn)) {
	w.Helper()
	open, address := func(address string) (net.Listener, error) { return net.Listen("tcp", address) }, "127.0.0.1:0"
	if w.network != nil {
		open, address = w.network.Listen, "hub.example:8883"
	}
	listener, err := open(address)
	if err != nil {
		w.Fatal(err)
	}
	w.host = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				serve(conn)
			})
		}
	})
	w.Cleanup(func() {
		cancel()
		listener.Close()
		serving.Wait()
	})
}

// config returns the Config of a device that trusts the peer.
func (w *world) config() transport.Config {
	c := transport.Config{
		Host: w.host, ClientID: "dev1", Username: "dev1",
		Link:     transport.Link{RootCAs: transport.FixedRoots(authority.pool)},
		Password: func(time.Time) (string, error) { return "secret", nil },
	}
	if w.network != nil {
		c.Dial = w.network.DialContext
	}
	return c
}

// connect opens a session, which is closed at the end of the test.
func (w *world) connect(change ...func(*transport.Config)) *transport.Session {
	w.Helper()
	c := w.config()
	for _, f := range change {
		f(&c)
	}
	s, err := transport.Connect(w.Context(), c)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { w.close(s) })
	return s
}

func (w *world) close(s *transport.Session) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		w.Errorf("close: %v", err)
	}
}

// publishAndWait publishes a message and waits for its acknowledgement, the end of the session or ctx.
func publishAndWait(s *transport.Session, ctx context.Context, topic string, qos byte, payload []byte) error {
	done := make(chan error, 1)
	if err := s.Publish(ctx, topic, qos, payload, func(err error) { done <- err }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wantEnd waits for the end of the session and checks the cause.
func (w *world) wantEnd(s *transport.Session, want transport.Reason) {
	w.Helper()
	select {
	case <-s.Ended():
		w.wantReason(s.Cause(), want)
	case <-time.After(2 * time.Minute):
		w.Errorf("the session has not ended, want %s", want)
	}
}

func (w *world) wantReason(err error, want transport.Reason) {
	w.Helper()
	if err == nil || transport.ReasonOf(err) != want {
		w.Errorf("got %v, want the reason %s", err, want)
	}
}

// wantTook checks how long something took: exactly in a bubble, otherwise roughly.
func (w *world) wantTook(since time.Time, want time.Duration) {
	w.Helper()
	if took := time.Since(since); w.network != nil && took != want || took > want+3*time.Second {
		w.Errorf("it took %v, want %v", took, want)
	}
}

// An issuer is a certificate authority. Its certificates are valid from 1990: the clock of a bubble starts in 2000.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

var (
	authority, otherAuthority = newIssuer(), newIssuer()

	good      = authority.issue("hub.example", 2049)
	foreign   = otherAuthority.issue("hub.example", 2049)
	wrongName = authority.issue("other.example", 2049)
	expired   = authority.issue("hub.example", 1999)
)

func newIssuer() issuer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	i := issuer{key: key, pool: x509.NewCertPool(), certificate: &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: year(1990), NotAfter: year(2049),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	if i.certificate, err = x509.ParseCertificate(i.sign(i.certificate, &key.PublicKey)); err != nil {
		panic(err)
	}
	i.pool.AddCert(i.certificate)
	return i
}

// issue makes a certificate for a name; that of hub.example is for 127.0.0.1 as well.
func (i issuer) issue(name string, until int) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: year(1990), NotAfter: year(until), DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if name == "hub.example" {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	return tls.Certificate{Certificate: [][]byte{i.sign(template, &key.PublicKey)}, PrivateKey: key}
}

func (i issuer) sign(template *x509.Certificate, key *ecdsa.PublicKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, template, i.certificate, key, i.key)
	if err != nil {
		panic(err)
	}
	return der
}

func year(n int) time.Time { return time.Date(n, 1, 1, 0, 0, 0, 0, time.UTC) }
