package emulator

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports for endpoints that may have any. Systems choose the ports of outgoing connections above them (Linux from 32768 on): one of
// those could be given away while its hub is dead.
const (
	firstPort = 15_000
	lastPort  = 32_000
	portTries = 50
)

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
