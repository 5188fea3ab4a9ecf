package transport_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/transport"
)

// A directory is a DNS server for one name.
type directory struct {
	mu        sync.Mutex
	addresses []netip.Addr
}

func (d *directory) set(addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addresses = nil
	for _, a := range addresses {
		d.addresses = append(d.addresses, netip.MustParseAddr(a))
	}
}

// useDirectory makes a directory answer all questions of this process, until the test ends.
func useDirectory(t *testing.T) *directory {
	t.Helper()
	d := &directory{}
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		question := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(question)
			if err != nil {
				return
			}
			if answer := d.answer(question[:n]); answer != nil {
				_, _ = server.WriteTo(answer, from)
			}
		}
	})
	usual := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = usual
		server.Close()
		serving.Wait()
	})
	return d
}

func (d *directory) answer(packet []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(packet) != nil || len(m.Questions) == 0 {
		return nil
	}
	q := m.Questions[0]
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true},
		Questions: []dnsmessage.Question{q},
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.addresses {
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type}}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			r.Body = &dnsmessage.AResource{A: a.As4()}
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		default:
			continue
		}
		answer.Answers = append(answer.Answers, r)
	}
	text, err := answer.Pack()
	if err != nil {
		return nil
	}
	return text
}

// listenAt listens on an address, and reports each connection.
func listenAt(t *testing.T, address string) (port string, accepted <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	connections := make(chan struct{}, 16)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections <- struct{}{} // before the client can notice the end of the connection
			conn.Close()
		}
	})
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port, connections
}

// blackHole makes connection requests to an address go unanswered, as those to a dead machine do. Its queue has
// room for one connection and is full.
func blackHole(t *testing.T, address netip.AddrPort) {
	t.Helper()
	family, to := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: int(address.Port()),
		Addr: address.Addr().As16()})
	if address.Addr().Is4() {
		family, to = syscall.AF_INET, &syscall.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		t.Cleanup(func() { syscall.Close(fd) })
		err = errors.Join(syscall.Bind(fd, to), syscall.Listen(fd, 0))
	}
	if err != nil {
		t.Skip("this machine has no such address: ", err)
	}
	for range 8 {
		conn, err := net.DialTimeout("tcp", address.String(), 150*time.Millisecond)
		if errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this kernel answers all connection requests")
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A dead address of a host costs little when another of its addresses is alive.
func TestADeadAddressCostsLittle(t *testing.T) {
	slow.Test(t)
	for name, c := range map[string]struct {
		dead string
		most time.Duration
	}{
		"of the other family":           {"::1", 350 * time.Millisecond},
		"of the same family, the first": {"127.0.0.2", 2500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			names := useDirectory(t)
			port, accepted := listenAt(t, "127.0.0.1:0")
			dead := netip.MustParseAddr(c.dead)
			blackHole(t, netip.MustParseAddrPort(net.JoinHostPort(c.dead, port)))
			names.set(dead.String(), "127.0.0.1")
			began := time.Now()
			_, err := transport.Connect(t.Context(), transport.Config{Host: "hub.example:" + port})
			took := time.Since(began)
			select {
			case <-accepted:
			default:
				t.Fatalf("the living address was not tried: %v", err)
			}
			if most := c.most + 100*time.Millisecond; took > most { // for a busy machine
				t.Errorf("it took %v, want %v at most", took, most)
			}
			t.Logf("the dead address cost %v", took)
		})
	}
}

// A regional failover of a hub keeps its name and changes its address.
func TestAHostIsLookedUpAtEachConnect(t *testing.T) {
	names := useDirectory(t)
	port, first := listenAt(t, "127.0.0.1:0")
	_, second := listenAt(t, "127.0.0.2:"+port)
	for i, c := range []struct {
		address  string
		accepted <-chan struct{}
	}{{"127.0.0.1", first}, {"127.0.0.2", second}, {"127.0.0.1", first}} {
		names.set(c.address)
		_, err := transport.Connect(t.Context(), transport.Config{Host: "hub.example:" + port})
		select {
		case <-c.accepted:
		default:
			t.Fatalf("connection %d was not made to %s: %v", i+1, c.address, err)
		}
	}
}
