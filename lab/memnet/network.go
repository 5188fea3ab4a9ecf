// Package memnet is a network in memory. Its listeners and connections behave as TCP's do wherever a device would notice
// (FIN, RST, half-close, refusal, deadlines, latency), a writer never blocks, and every wait is one that
// testing/synctest can see, so a bubble's clock advances over it.
package memnet

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// firstPort is where the search for a free port begins; the numbers are the same in each run.
const firstPort = 49152

// A Network joins the listeners and connections made on it. It has no goroutine and needs no Close.
type Network struct {
	latency atomic.Int64 // nanoseconds, one way

	mu        sync.Mutex
	listeners map[string]*listener
	nextPort  int
}

// New returns a network without latency on which nobody listens.
func New() *Network {
	return &Network{listeners: map[string]*listener{}, nextPort: firstPort}
}

// SetLatency makes whatever is written from now on arrive d later. Order within a direction is kept.
func (n *Network) SetLatency(d time.Duration) { n.latency.Store(int64(max(d, 0))) }

// Listen opens the address "name:port". Port 0 picks a free one.
func (n *Network) Listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("memnet: listen: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		port = n.freePort(host)
	}
	at := endpoint(net.JoinHostPort(strings.ToLower(host), port))
	if n.listeners[string(at)] != nil {
		return nil, opError("listen", nil, at, os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	l := &listener{network: n, at: at}
	l.waiting = sync.NewCond(&l.mu)
	n.listeners[string(at)] = l
	return l, nil
}

// DialContext connects to a listener. Nobody listening there is syscall.ECONNREFUSED, told after a round trip.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to := endpoint(strings.ToLower(address))
	if err := sleep(ctx, 2*time.Duration(n.latency.Load())); err != nil {
		return nil, opError("dial", nil, to, err)
	}
	l, err := n.reach(ctx, to)
	if err != nil {
		return nil, opError("dial", nil, to, err)
	}
	n.mu.Lock()
	from := endpoint("client:" + n.freePort("client"))
	n.mu.Unlock()
	if l != nil {
		near, far := pipe(n, from, to)
		if l.offer(far) {
			return near, nil
		}
	}
	return nil, opError("dial", from, to, os.NewSyscallError("connect", syscall.ECONNREFUSED))
}

// reach finds the listener, once one is there that answers or none at all.
func (n *Network) reach(ctx context.Context, to endpoint) (*listener, error) {
	for {
		n.mu.Lock()
		l := n.listeners[string(to)]
		n.mu.Unlock()
		if l == nil {
			return nil, nil
		}
		hole := l.swallowing()
		if hole == nil {
			return l, nil
		}
		select {
		case <-hole:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// freePort is called with n.mu held.
func (n *Network) freePort(host string) string {
	for {
		port := strconv.Itoa(n.nextPort)
		if n.nextPort++; n.nextPort > 65535 {
			n.nextPort = firstPort
		}
		if n.listeners[net.JoinHostPort(strings.ToLower(host), port)] == nil {
			return port
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An endpoint is an address on a Network.
type endpoint string

func (endpoint) Network() string  { return "mem" }
func (e endpoint) String() string { return string(e) }

func opError(op string, source, address net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "mem", Source: source, Addr: address, Err: err}
}
