package emulator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	holePatience = 150 * time.Millisecond // in which a connection request on one machine is answered, if it ever is
	holeFillers  = 8
)

// openHole listens without ever accepting and fills the queue of what may be accepted, which Linux makes one longer than it
// was told. From then on the kernel drops connection requests unanswered. When the hole is closed, the listener refuses connections.
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
	var held []io.Closer
	hole := closer(func() error {
		for _, h := range held {
			_ = h.Close()
		}
		return port.stop()
	})
	for range holeFillers {
		filler, err := net.DialTimeout("tcp", port.Addr().String(), holePatience)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return hole, nil
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("filling the queue: %w", err), hole())
		}
		held = append(held, filler)
	}
	return nil, errors.Join(errNoBlackHole, hole())
}
