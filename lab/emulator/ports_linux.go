package emulator

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// backlog is the number of connections that may wait for Accept. Go uses at most this number, too.
const backlog = 4096

// A keptPort is a TCP listener whose socket stays bound while it refuses connections. On Linux a
// socket can stop listening by shutdown and then listen again.
type keptPort struct {
	*net.TCPListener

	mu        sync.Mutex
	changed   *sync.Cond
	refusing  bool
	closed    bool
	accepting bool // a goroutine is in TCPListener.Accept
}

func holdPort(l *net.TCPListener) net.Listener {
	p := &keptPort{TCPListener: l}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// SetRefusing stops listening, or listens again. It returns when Accept uses the new state.
func (p *keptPort) SetRefusing(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return net.ErrClosed
	case on == p.refusing:
		return nil
	case !on:
		if err := p.listen(backlog); err != nil {
			return err
		}
		p.refusing = false
		p.changed.Broadcast()
		return nil
	}
	if err := p.stop(); err != nil {
		return err
	}
	p.refusing = true
	for p.accepting && !p.closed {
		p.changed.Wait()
	}
	return nil
}

// stop stops listening. The socket stays bound. It clears SO_REUSEADDR, because otherwise another
// socket with that option, which Go and most servers set, could take the port.
func (p *keptPort) stop() error {
	return p.control(func(fd int) error {
		return errors.Join(reuseAddress(fd, 0), syscall.Shutdown(fd, syscall.SHUT_RD))
	})
}

// listen sets SO_REUSEADDR, because connections that were accepted earlier still use the port.
func (p *keptPort) listen(backlog int) error {
	err := p.control(func(fd int) error { return errors.Join(reuseAddress(fd, 1), syscall.Listen(fd, backlog)) })
	if err != nil {
		_ = p.control(func(fd int) error { return reuseAddress(fd, 0) })
	}
	return err
}

func reuseAddress(fd, value int) error {
	return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, value)
}

func (p *keptPort) control(do func(fd int) error) error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = do(int(fd)) }); err != nil {
		return err
	}
	return failure
}

// Accept waits for a connection, also while the port refuses connections.
func (p *keptPort) Accept() (net.Conn, error) {
	for p.begin() {
		conn, err := p.TCPListener.Accept()
		switch refused := p.end(); {
		case !refused:
			return conn, err
		case err == nil:
			resetConn(conn) // the kernel accepted the connection just before the port began to refuse
		}
	}
	return nil, net.ErrClosed
}

// begin waits until the port listens, and returns false if the port was closed.
func (p *keptPort) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.refusing && !p.closed {
		p.changed.Wait()
	}
	p.accepting = !p.closed
	return p.accepting
}

// end reports whether the port refuses connections now.
func (p *keptPort) end() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepting = false
	p.changed.Broadcast()
	return p.refusing
}

// Close frees the port.
func (p *keptPort) Close() error {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	return p.TCPListener.Close()
}
