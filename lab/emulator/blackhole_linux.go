package emulator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

const (
	holePatience = 150 * time.Millisecond // in which a connection request on one machine is answered, if it ever is
	holeFillers  = 8
)

// openHole listens without ever accepting and fills the queue of what may be accepted, which Linux makes one longer than it
// was told. From then on the kernel drops connection requests unanswered.
func openHole(address string) (io.Closer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	held := []io.Closer{listener}
	hole := closer(func() error {
		for _, h := range held {
			_ = h.Close()
		}
		return nil
	})
	if err := shorten(listener.(*net.TCPListener)); err != nil {
		return nil, errors.Join(err, hole())
	}
	for range holeFillers {
		filler, err := net.DialTimeout("tcp", address, holePatience)
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

// shorten makes a listener's queue as short as can be; listening again only changes that.
func shorten(listener *net.TCPListener) error {
	raw, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = syscall.Listen(int(fd), 0) }); err != nil {
		return err
	}
	return failure
}
