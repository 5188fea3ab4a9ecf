package emulator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	fillTimeout = 150 * time.Millisecond // the kernel answers a local connection request sooner, or never
	fillLimit   = 8                      // largest number of connections that fill the queue
)

// openBlackHole listens with a backlog of 0, never accepts, and fills the queue of the kernel,
// which Linux makes one longer than the backlog. From then on the kernel drops connection requests
// without an answer. After Close of the black hole, the listener refuses connections.
func openBlackHole(listener net.Listener) (io.Closer, error) {
	port, ok := listener.(*keptPort)
	if !ok {
		return nil, errNoBlackHole
	}
	if err := port.SetRefusing(true); err != nil {
		return nil, err
	}
	if err := port.listen(0); err != nil {
		return nil, err
	}
	var fillers []io.Closer
	blackHole := closer(func() error {
		for _, f := range fillers {
			_ = f.Close()
		}
		return port.stop()
	})
	for range fillLimit {
		filler, err := net.DialTimeout("tcp", port.Addr().String(), fillTimeout)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return blackHole, nil
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("filling the queue: %w", err), blackHole())
		}
		fillers = append(fillers, filler)
	}
	return nil, errors.Join(errNoBlackHole, blackHole())
}
