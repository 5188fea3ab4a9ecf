package emulator

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// The range of ports for port 0. It is below the ports that systems use for outgoing connections
// (on Linux from 32768). So an outgoing connection cannot take the port of an endpoint that is
// down, even on a system where the endpoint cannot hold its port.
const (
	firstPort = 15_000
	lastPort  = 32_000
	portTries = 50
)

// A portHolder is a listener that can refuse connections and hold its address meanwhile: the listener
// of lab/memnet, and on Linux the TCP listener. While a portHolder refuses connections, Accept
// waits. The emulator closes other listeners and opens them again.
type portHolder interface {
	net.Listener
	SetRefusing(on bool) error
}

// listenTCP listens on an address. Port 0 means a free port.
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
