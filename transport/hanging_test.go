package transport_test

import (
	"context"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/transport"
)

func TestConnectDoesNotWaitForAFunctionThatHangs(t *testing.T) {
	for name, c := range map[string]struct {
		hang func(c *transport.Config, release chan struct{})
		want time.Duration // bound of the function if nobody ends ctx
	}{
		"Dial": {func(c *transport.Config, release chan struct{}) {
			dial := c.Dial
			c.Dial = func(_ context.Context, network, address string) (net.Conn, error) {
				<-release
				return dial(context.Background(), network, address)
			}
		}, 5 * time.Second},
		"RootCAs": {func(c *transport.Config, release chan struct{}) {
			c.RootCAs = func() *x509.CertPool { <-release; return nil }
		}, 30 * time.Second},
		"the key source": {func(c *transport.Config, release chan struct{}) {
			c.Password = func(time.Time) (string, error) { <-release; return "", nil }
		}, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				closed, release := make(chan struct{}), make(chan struct{})
				w.listen(func(conn net.Conn) { handshakeWith(good)(conn); closed <- struct{}{} })
				config := w.config()
				c.hang(&config, release)
				connect := func(ctx context.Context, want time.Duration) {
					start := time.Now()
					_, err := transport.Connect(ctx, config)
					w.wantTook(start, want+100*time.Millisecond)
					if err == nil || !strings.Contains(err.Error(), name+" has not returned") {
						t.Errorf("the error does not name %s: %v", name, err)
					}
				}
				ctx, cancel := context.WithCancel(w.Context())
				time.AfterFunc(time.Second, cancel)
				connect(ctx, time.Second)
				connect(w.Context(), c.want)
				close(release)
				<-closed // also a connection that Dial returned too late
				<-closed
			})
		})
	}
}
