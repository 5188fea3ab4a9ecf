package machine

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"sync/atomic"
)

// calls runs the functions of the program that a connection needs: Link.Dial, Link.RootCAs and Identity.Key.
// Only one runs at a time. An attempt to connect does not wait for a function that hangs, and calls refuses
// the next attempts until the function has returned, so that no more than one goroutine hangs.
type calls struct {
	running chan struct{} // has a value while a function runs
	name    atomic.Value  // name of the function that was called last
}

func newCalls() *calls { return &calls{running: make(chan struct{}, 1)} }

// begin returns an error if a function runs.
func (c *calls) begin(name string) error {
	select {
	case c.running <- struct{}{}:
		c.name.Store(name)
		return nil
	default:
		return c.hang()
	}
}

func (c *calls) end() { <-c.running }

func (c *calls) hang() error {
	return fmt.Errorf("machine: a call of %s has not returned; the device cannot connect until it has", c.name.Load())
}

// await waits until no function runs. If ctx ends first, await returns an error that names the function.
func (c *calls) await(ctx context.Context) error {
	select {
	case c.running <- struct{}{}:
	default:
		select {
		case c.running <- struct{}{}:
		case <-ctx.Done():
			return c.hang()
		}
	}
	c.end()
	return nil
}

// wrap returns a link whose functions run one at a time.
func (c *calls) wrap(link Link) Link {
	dial, roots := link.Dial, link.RootCAs
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	link.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if err := c.begin("Link.Dial"); err != nil {
			return nil, err
		}
		defer c.end()
		return dial(ctx, network, address)
	}
	if roots != nil {
		link.RootCAs = func() *x509.CertPool {
			if c.begin("Link.RootCAs") != nil {
				return x509.NewCertPool() // trusts nobody; Dial has been called first, and has returned
			}
			defer c.end()
			return roots()
		}
	}
	return link
}
