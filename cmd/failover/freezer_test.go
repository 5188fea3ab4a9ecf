//go:build unix

package main_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A freezer is a network whose servers can be made to receive nothing, while their kernels still
// acknowledge.
type freezer struct {
	frozen sync.RWMutex
	held   chan struct{} // has a value when something was sent to a frozen server
}

// freezingCloud starts a cloud on such a network.
func freezingCloud(t *testing.T) (*emulator.Cloud, *freezer) {
	t.Helper()
	f := &freezer{held: make(chan struct{}, 1)}
	return emulator.ForTest(t, emulator.Config{RetryAfter: time.Second, Listen: f.listen}), f
}

// freeze returns when something was sent that no server received.
func (f *freezer) freeze(t *testing.T) {
	t.Helper()
	f.frozen.Lock()
	select {
	case <-f.held:
	case <-time.After(waitTimeout):
		f.thaw()
		t.Fatal("nothing is sent")
	}
}

func (f *freezer) thaw() { f.frozen.Unlock() }

func (f *freezer) listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	return freezingListener{l, f}, err
}

type freezingListener struct {
	net.Listener
	freezer *freezer
}

func (l freezingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return freezingConn{c, l.freezer}, err
}

type freezingConn struct {
	net.Conn
	freezer *freezer
}

func (c freezingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.freezer.frozen.TryRLock() {
		select {
		case c.freezer.held <- struct{}{}:
		default:
		}
		c.freezer.frozen.RLock() // when it has thawed
	}
	defer c.freezer.frozen.RUnlock()
	return n, err
}
