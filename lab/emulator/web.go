package emulator

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// The limits of an HTTPS connection. No document names those of the services.
const (
	webHeaderSize    = 64 << 10 // bytes of the headers
	webHeaderTimeout = 10 * time.Second
	webReadTimeout   = 30 * time.Second
	webWriteTimeout  = 11 * time.Minute // a direct method may wait 5 minutes for the device and 5 for its answer
	webIdleTimeout   = time.Minute
)

// HandleHTTP makes an endpoint answer HTTPS requests on its MQTT port. The endpoint is TargetDPS or
// the name of a hub. The services have one host name for both protocols, too, and so a connection
// string names the right host for a back end and for a device. The faults that end, refuse, delay
// or pause connections apply to HTTPS; the faults about MQTT packets do not. A handler must return
// when the context of its request ends. HandleHTTP is called before clients connect.
func (c *Cloud) HandleHTTP(endpoint string, handler http.Handler) error {
	c.mu.Lock()
	defer c.unlock()
	t, err := c.target(endpoint)
	if err != nil || t.device != nil {
		return errors.New("emulator: handle HTTP: the endpoint is neither DPS nor a hub")
	}
	t.frontend.web = newWebServer(handler)
	return nil
}

func newWebServer(handler http.Handler) *http.Server {
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: webHeaderTimeout, ReadTimeout: webReadTimeout,
		WriteTimeout: webWriteTimeout, IdleTimeout: webIdleTimeout, MaxHeaderBytes: webHeaderSize,
		ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols),
		ConnState: func(conn net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(conn.(*webConn).served)
			}
		},
	}
	s.Protocols.SetHTTP1(true)
	return s
}

// webMethods are the beginnings of HTTP requests. No MQTT packet that a client may send first begins
// like one of them.
var webMethods = [][]byte{
	[]byte("GET "), []byte("PUT "), []byte("POST "), []byte("PATCH "), []byte("DELETE "), []byte("HEAD "),
	[]byte("OPTIONS "),
}

// speaksHTTP reads the first bytes of a connection, which the next Read returns again, and reports
// whether they begin an HTTP request.
func (conn *connection) speaksHTTP() bool {
	first := make([]byte, 4096)
	n, _ := conn.Read(first) // the next Read returns an error again
	conn.unread = first[:n]
	for _, method := range webMethods {
		if bytes.HasPrefix(conn.unread, method) {
			return true
		}
	}
	return false
}

// serveWeb serves the requests of a connection and returns when the connection has ended.
func (f *frontend) serveWeb(server *http.Server, conn *connection) {
	close(conn.flushed) // webConn writes without writeLoop
	web := &webConn{connection: conn, served: make(chan struct{})}
	_ = server.Serve(&oneConnection{conn: web}) // always ends with net.ErrClosed
}

// A webConn is a connection as net/http sees it.
type webConn struct {
	*connection
	served chan struct{} // closed when net/http has done with the connection
}

// Write blocks until TLS has taken the data. After abort it fails.
func (w *webConn) Write(p []byte) (int, error) {
	if w.isEnding() {
		return 0, net.ErrClosed
	}
	return w.tls.Write(p)
}

func (w *webConn) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}

func (w *webConn) SetReadDeadline(t time.Time) error {
	return w.withoutEnd(func() error { return w.shaped.SetReadDeadline(t) })
}

func (w *webConn) SetWriteDeadline(t time.Time) error {
	return w.withoutEnd(func() error { return w.shaped.SetWriteDeadline(t) })
}

// withoutEnd sets a deadline, unless the connection is ending and has the deadlines of its end.
func (w *webConn) withoutEnd(set func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending {
		return net.ErrClosed
	}
	return set()
}

// oneConnection is a listener with one connection. Its second Accept waits for the end of that
// connection, so that Serve lasts as long as the connection.
type oneConnection struct {
	conn     *webConn
	accepted bool
}

func (o *oneConnection) Accept() (net.Conn, error) {
	if !o.accepted {
		o.accepted = true
		return o.conn, nil
	}
	<-o.conn.served
	return nil, net.ErrClosed
}

func (o *oneConnection) Close() error   { return nil }
func (o *oneConnection) Addr() net.Addr { return o.conn.LocalAddr() }
