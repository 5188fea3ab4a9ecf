package emulator

import (
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"time"
)

// A door is an address on which the cloud listens, and every connection that came in through it. Its fields are guarded by
// the cloud's lock, address apart, which never changes once it is known.
type frontend struct {
	cloud           *Cloud
	endpoint        endpoint
	name            string       // "DPS" or the hub's
	address         string       // host:port by which it is reached
	listenAddress   string       // host:port on which it listens
	listener        net.Listener // nil while there is none
	accepting       bool         // connections are accepted; a listener that keeps its address may be there without
	blackHole       io.Closer    // swallows what would connect
	paused          bool
	shaping         *Params // nil: not slow
	faults          faultSet
	connections     map[*connection]struct{}
	connectionCount int // numbers the links
}

func newFrontend(c *Cloud, name string, to endpoint) *frontend {
	return &frontend{cloud: c, endpoint: to, name: name, faults: faultSet{}, connections: map[*connection]struct{}{}}
}

// begin listens for the first time. Devices reach it by host.
func (f *frontend) start(listenAt, host string) error {
	f.listenAddress = listenAt
	err := f.listen()
	if err != nil {
		return err
	}
	listens, _, _ := net.SplitHostPort(listenAt)
	_, port, err := net.SplitHostPort(f.listener.Addr().String())
	f.listenAddress, f.address = net.JoinHostPort(listens, port), net.JoinHostPort(host, port)
	return err
}

// open listens; after a shut it does so on the same port again.
func (f *frontend) listen() error {
	if f.cloud.isClosed() {
		return ErrClosed
	}
	if f.accepting {
		return nil
	}
	if kept, ok := f.listener.(portHolder); ok {
		if err := kept.SetRefusing(false); err != nil {
			return err
		}
		f.accepting = true
		return nil
	}
	listener, err := f.cloud.config.Listen(f.listenAddress)
	if err != nil {
		return err
	}
	if tcp, ok := listener.(*net.TCPListener); ok {
		listener = holdPort(tcp)
	}
	f.listener, f.accepting = listener, true
	f.cloud.running.Go(func() { f.acceptLoop(listener) })
	return nil
}

// shut refuses new connections and ends those there are. After it nothing leaves any more.
func (f *frontend) close(how closeMode) {
	f.stopListening()
	f.endBlackHole()
	f.closeConnections(how)
}

// refuse keeps the port for the next open if the listener can do that. Once the cloud is closed, no port is kept.
func (f *frontend) stopListening() {
	f.accepting = false
	if f.listener == nil {
		return
	}
	if kept, ok := f.listener.(portHolder); ok && !f.cloud.isClosed() && kept.SetRefusing(true) == nil {
		return
	}
	_ = f.listener.Close()
	f.listener = nil
}

// endAll ends the connections, those beyond a frozen line too.
func (f *frontend) closeConnections(how closeMode) {
	f.paused = false
	for _, conn := range f.sortedConnections() {
		conn.abortPaused(how)
	}
}

func (f *frontend) sortedConnections() []*connection {
	return slices.SortedFunc(maps.Keys(f.connections), func(a, b *connection) int { return a.number - b.number })
}

// freeze lets nothing pass on the connections there are and on those to come.
func (f *frontend) pause() {
	f.paused = true
	for _, conn := range f.sortedConnections() {
		conn.shaped.pause()
	}
}

// revive is the end of every way to be dead.
func (f *frontend) bringUp() error {
	f.endBlackHole()
	if err := f.listen(); err != nil {
		return err
	}
	f.paused = false
	for _, conn := range f.sortedConnections() {
		conn.shaped.resume()
	}
	return nil
}

func (f *frontend) acceptLoop(listener net.Listener) {
	for {
		raw, err := listener.Accept()
		if err == nil {
			f.admit(listener, raw)
			continue
		}
		if errors.Is(err, net.ErrClosed) || !f.isCurrent(listener) {
			return
		}
		time.Sleep(50 * time.Millisecond) // no file descriptors left, most likely
	}
}

func (f *frontend) isCurrent(listener net.Listener) bool {
	f.cloud.mu.Lock()
	defer f.cloud.mu.Unlock()
	return f.listener == listener
}

func (f *frontend) admit(listener net.Listener, raw net.Conn) {
	f.cloud.mu.Lock()
	defer f.cloud.mu.Unlock()
	if f.listener != listener || !f.accepting { // shut since
		resetConn(raw)
		return
	}
	if f.cloud.triggered(Flaky, f.faults) != nil {
		f.cloud.emit(KindRefused, f.name, "", "reset by chance")
		resetConn(raw)
		return
	}
	f.connectionCount++
	conn := newConnection(raw, f.certificate(), f.endpoint, f.connectionCount)
	if f.paused {
		conn.shaped.pause()
	}
	f.applyShaping(conn)
	f.connections[conn] = struct{}{}
	f.cloud.running.Go(func() { f.serve(conn) })
}

// enter locks the cloud for a packet that has come, once nothing keeps it from being heard.
func (c *Cloud) lockForPacket(conn *connection) error {
	for {
		c.mu.Lock()
		if !conn.shaped.isPaused() {
			return nil
		}
		c.mu.Unlock()
		if conn.shaped.waitReadable() != nil {
			return errEnded
		}
	}
}

// serve owns one connection from its handshake to its end.
func (f *frontend) serve(conn *connection) {
	if err := conn.handshake(); err != nil {
		close(conn.flushed) // nothing was started
		f.endpoint.connectionEnded(conn, "TLS handshake: "+err.Error())
	} else {
		go conn.writeLoop()
		f.endpoint.connectionEnded(conn, f.cloud.broker.serve(conn))
	}
	conn.finish()
	f.cloud.mu.Lock()
	delete(f.connections, conn)
	f.cloud.mu.Unlock()
}
