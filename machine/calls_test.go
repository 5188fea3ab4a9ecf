package machine_test

import (
	"context"
	"crypto/x509"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"giantlizard.example/failover/machine"
)

// eachHangs runs a test for each function of the program that a connection needs. The function hangs until release is
// closed, whatever its context says.
func eachHangs(
	t *testing.T, test func(t *testing.T, w *world, name string, release chan struct{}, calls *atomic.Int32),
) {
	for _, name := range []string{"Link.Dial", "Link.RootCAs", "Identity.Key"} {
		t.Run(name, func(t *testing.T) {
			var release chan struct{}
			var calls atomic.Int32
			bubble(t, func(s *machine.Settings) {
				release = make(chan struct{})
				hang := func() { calls.Add(1); <-release }
				dial, roots, key := s.Link.Dial, s.Link.RootCAs, s.Identity.Key
				switch name {
				case "Link.Dial":
					s.Link.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
						hang()
						return dial(ctx, network, address)
					}
				case "Link.RootCAs":
					s.Link.RootCAs = func() *x509.CertPool { hang(); return roots() }
				case "Identity.Key":
					s.Identity.Key = func() (machine.Key, error) { hang(); return key() }
				}
			}, func(t *testing.T, w *world) { test(t, w, name, release, &calls) })
		})
	}
}

func TestCloseEndsInTimeAndNamesTheFunctionThatHangs(t *testing.T) {
	eachHangs(t, func(t *testing.T, w *world, name string, release chan struct{}, _ *atomic.Int32) {
		w.live()
		time.Sleep(time.Second)
		began := time.Now()
		if err := w.close(); err == nil || !strings.Contains(err.Error(), name+" has not returned") {
			t.Errorf("run: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second+200*time.Millisecond {
			t.Errorf("close took %s", took)
		}
		close(release)
	})
}

func TestAFunctionThatHangsIsNamedAndNotCalledAgainUntilItHasReturned(t *testing.T) {
	eachHangs(t, func(t *testing.T, w *world, name string, release chan struct{}, calls *atomic.Int32) {
		w.live()
		time.Sleep(time.Hour)
		if n := calls.Load(); n != 1 {
			t.Errorf("it was called %d times", n)
		}
		if said := w.said(); !strings.Contains(said, "a call of "+name+" has not returned") {
			t.Errorf("the records say\n%s", said)
		}
		close(release)
		w.awaitState(machine.Connected, 0)
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}
