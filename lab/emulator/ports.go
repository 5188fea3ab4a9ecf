package emulator

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports for endpoints that may have any. Systems choose the ports of outgoing connections above them (Linux from 32768 on): where
// a dead endpoint cannot keep its port, one of those could be given away.
const (
	firstPort = 15_000
	lastPort  = 32_000
	portTries = 50
)

// A refuser is a listener that can refuse connections and keep its address meanwhile, so that nobody else gets it: lab/memnet's
// and, on Linux, TCP's. While it refuses, Accept waits. Any other listener is closed and opened again.
type portHolder interface {
	net.Listener
	SetRefusing(on bool) error
}

// listenTCP listens at an address; port 0 is one that is free.
func listenTCP(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err == nil && port == "0" {
		for range portTries {
			l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort))))
			if !errors.Is(err, syscall.EADDRINUSE) {
				return l, err
			}
		}
	}
	return net.Listen("tcp", address)
}
