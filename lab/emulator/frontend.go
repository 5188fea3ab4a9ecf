package emulator

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"
)

// A frontend is the network side of an endpoint: the address on which it listens, and its
// connections. The cloud's lock guards the fields, except address, which does not change after the
// start.
type frontend struct {
	cloud           *Cloud
	endpoint        endpoint
	name            string       // "DPS" or the name of the hub
	address         string       // host:port by which clients reach it
	listenAddress   string       // host:port on which it listens
	listener        net.Listener // nil means that the endpoint does not listen and holds no port
	accepting       bool         // connections are accepted; if false, the listener may still hold the port
	blackHole       io.Closer    // nil means that there is no black hole
	paused          bool
	shaping         *Params // the parameters of the fault slow; nil means no delays
	faults          faultSet
	connections     map[*connection]struct{}
	connectionCount int          // number of the last connection
	web             *http.Server // serves HTTPS on the same port; nil means that all clients must speak MQTT
}

func newFrontend(c *Cloud, name string, to endpoint) *frontend {
	return &frontend{cloud: c, endpoint: to, name: name, faults: faultSet{}, connections: map[*connection]struct{}{}}
}

// start listens for the first time. Clients reach the endpoint by host.
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

// listen makes the endpoint accept connections. If the endpoint was closed, listen opens the same port
// again.
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

// close refuses new connections and ends the existing ones. Nothing is sent after it returns.
func (f *frontend) close(how closeMode) {
	f.stopListening()
	f.endBlackHole()
	f.closeConnections(how)
}

// stopListening refuses connections. It holds the port for the next listen if the listener can hold
// a port. After the cloud was closed, stopListening frees the port.
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

// closeConnections ends all connections, also paused connections.
func (f *frontend) closeConnections(how closeMode) {
	f.paused = false
	for _, conn := range f.sortedConnections() {
		conn.abortPaused(how)
	}
}

func (f *frontend) sortedConnections() []*connection {
	return slices.SortedFunc(maps.Keys(f.connections), byNumber)
}

func byNumber(a, b *connection) int { return a.number - b.number }

// pause holds all bytes on existing and new connections.
func (f *frontend) pause() {
	f.paused = true
	for _, conn := range f.sortedConnections() {
		conn.shaped.pause()
	}
}

// bringUp ends all effects of the faults of GroupDown.
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
		time.Sleep(50 * time.Millisecond) // most likely the process has no file descriptors left
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
	if f.listener != listener || !f.accepting { // the endpoint was closed meanwhile
		resetConn(raw)
		return
	}
	if f.cloud.triggered(Flaky, f.faults) != nil {
		f.cloud.emit(KindRefused, f.name, "", "reset by the fault flaky")
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

// lockForPacket locks the cloud to handle a packet. It waits while the connection is paused.
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

// serve handles one connection from its TLS handshake to its end.
func (f *frontend) serve(conn *connection) {
	if err := conn.handshake(); err != nil {
		close(conn.flushed) // writeLoop was not started
		f.endpoint.connectionEnded(conn, endedByTLS+err.Error())
	} else if web := f.webServer(); web != nil && conn.speaksHTTP() {
		f.serveWeb(web, conn)
	} else {
		go conn.writeLoop()
		f.endpoint.connectionEnded(conn, f.cloud.broker.serve(conn))
	}
	conn.finish()
	f.cloud.mu.Lock()
	delete(f.connections, conn)
	f.cloud.mu.Unlock()
}

func (f *frontend) webServer() *http.Server {
	f.cloud.mu.Lock()
	defer f.cloud.mu.Unlock()
	return f.web
}
