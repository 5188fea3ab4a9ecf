// Package memnet is a network in memory. Its listeners and connections behave like those of TCP in
// all that a device can observe: FIN, RST, half-close, refusal, deadlines and latency. A writer
// never blocks. testing/synctest sees all waits, so that the clock of a bubble advances over them.
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

// firstPort is the first port that is tried for port 0, so that the numbers are the same in each
// run.
const firstPort = 49152

// A Network connects its listeners and connections. It has no goroutines and needs no Close.
type Network struct {
	latency atomic.Int64 // one-way latency in nanoseconds

	mu        sync.Mutex
	listeners map[string]*listener
	nextPort  int
}

// New returns a network without latency and without listeners.
func New() *Network {
	return &Network{listeners: map[string]*listener{}, nextPort: firstPort}
}

// SetLatency delays all data that is written from now on by d, one way. The order within a
// direction does not change.
func (n *Network) SetLatency(d time.Duration) { n.latency.Store(int64(max(d, 0))) }

// Listen listens on the address "name:port". Port 0 means a free port.
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

// DialContext connects to a listener, after one round trip. The error is syscall.ECONNREFUSED if
// there is no listener.
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

// reach returns the listener of an address, or nil if there is none. It waits while the listener is
// a black hole.
func (n *Network) reach(ctx context.Context, to endpoint) (*listener, error) {
	for {
		n.mu.Lock()
		l := n.listeners[string(to)]
		n.mu.Unlock()
		if l == nil {
			return nil, nil
		}
		blackHole := l.currentBlackHole()
		if blackHole == nil {
			return l, nil
		}
		select {
		case <-blackHole:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// freePort returns a port on which no listener of the host listens. The caller holds n.mu.
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
