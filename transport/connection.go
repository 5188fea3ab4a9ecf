package transport

import (
	"bufio"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var pingreq = []byte{0xc0, 0}

// A peer answers a packet only after it has read all of the packet, and a ping only after it has
// read everything that was sent earlier. On a slow network such a wait must not count as silence.
// So each large packet in flight extends Silence by the time that its bytes above recordSize take
// at slowRate.
const (
	slowRate         = 1 << 10     // assumed speed of a slow network, in bytes a second
	longestExtension = time.Minute // most time by which Silence is extended
)

// pieceSize is the most bytes that are written under one deadline. It is the size of the largest
// TLS record.
const pieceSize = 16 << 10

// errClosedByPaho is the error when paho closes the connection for a reason that paho only logs.
var errClosedByPaho = errors.New("paho closed the connection: a packet was malformed, or a ping was not answered")

// A connection is the network connection that paho uses. It ends once, with a cause, and every Read
// after that returns the cause: paho does not notice that a connection was closed, only that Read fails
// with another error than net.ErrClosed. The connection itself finds silence and stalled writes, and
// ignores the deadlines that paho sets.
type connection struct {
	net.Conn          // the TLS connection
	raw      net.Conn // connection below TLS; closed directly, because Conn would first send an alert and might block
	host     string
	link     Link
	packets  *packetReader
	out      *sendBuffer
	inFlight *inFlight

	connected atomic.Bool // CONNACK has come: from now on silence ends the session
	leaving   atomic.Bool // this side is ending the session; any error then counts as ClosedLocally

	mu      sync.Mutex
	waiting time.Time // time at which the last Read began to wait

	once  sync.Once
	cause error         // why the connection ended; set before ended is closed
	ended chan struct{} // is closed when the connection has ended
}

func newConnection(conn, raw net.Conn, c Config, secrets mask) *connection {
	own := &connection{
		Conn: conn, raw: raw, host: c.Host, link: c.Link, out: newSendBuffer(), ended: make(chan struct{}),
		inFlight: &inFlight{done: map[uint16]func(error){}, early: map[uint16]bool{}},
	}
	own.packets = &packetReader{conn: own, in: bufio.NewReaderSize(silenceReader{own}, 512), secrets: secrets}
	return own
}

// end closes the connection. Only the first cause counts.
func (c *connection) end(cause error) {
	c.once.Do(func() {
		if c.leaving.Load() {
			cause = &Error{Reason: ClosedLocally, Host: c.host}
		}
		c.cause = cause
		close(c.ended)
		c.raw.Close()
		c.out.end()
	})
}

func (c *connection) fail(reason Reason, err error) {
	c.end(&Error{Reason: reason, Host: c.host, Err: err})
}

// endCause returns why the connection ended, or nil until it has ended.
func (c *connection) endCause() error {
	select {
	case <-c.ended:
		return c.cause
	default:
		return nil
	}
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.packets.Read(p)
	if err == nil {
		return n, nil
	}
	if own, ok := errors.AsType[*Error](err); ok {
		c.end(own)
	} else if c.connected.Load() && isTimeout(err) {
		c.fail(Silence, err)
	} else {
		c.fail(reasonFor(err), err)
	}
	return n, c.cause
}

// A silenceReader reads the network connection and bounds each wait by Silence.
type silenceReader struct{ *connection }

func (r silenceReader) Read(p []byte) (int, error) {
	if r.connected.Load() {
		r.mu.Lock()
		r.waiting = time.Now()
		r.mu.Unlock()
		r.setSilenceDeadline()
	}
	return r.Conn.Read(p)
}

// setSilenceDeadline sets the time at which the current Read fails, which ends the session.
func (c *connection) setSilenceDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, excess := c.out.inFlight()
	extension := time.Duration(excess) * time.Second / slowRate
	c.Conn.SetReadDeadline(c.waiting.Add(c.link.Silence + min(extension, longestExtension)))
}

// ping sends a ping when nothing was read for pingAfter, until the connection ends. paho's own
// pings come up to a quarter of the keep-alive later, which leaves the peer too little of Silence
// for its answer.
func (c *connection) ping() {
	wait := c.link.pingAfter()
	for {
		select {
		case <-time.After(wait):
		case <-c.ended:
			return
		}
		c.mu.Lock()
		wait = c.link.pingAfter() - time.Since(c.waiting)
		c.mu.Unlock()
		if wait <= 0 {
			_, _ = c.Write(pingreq) // an error has ended the connection
			wait = c.link.pingAfter()
		}
	}
}

// Write adds a packet to the send buffer once CONNACK has come; before that, it writes to the
// network directly. After an error all later calls fail as well.
func (c *connection) Write(p []byte) (int, error) {
	if !c.connected.Load() {
		return c.write(p)
	}
	if !c.out.add(p) {
		return 0, c.endCause()
	}
	if len(p) > recordSize {
		c.setSilenceDeadline()
	}
	return len(p), nil
}

// send writes the send buffer to the network until the connection ends.
func (c *connection) send() {
	for batch := c.out.take(nil); batch != nil; batch = c.out.take(batch) {
		for piece := range slices.Chunk(batch, pieceSize) { // WriteTimeout bounds each piece, not a whole large packet
			c.Conn.SetWriteDeadline(time.Now().Add(c.link.WriteTimeout))
			n, err := c.write(piece)
			c.out.wrote(n)
			if err != nil { // write has already ended the connection
				break
			}
		}
	}
}

func (c *connection) write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		reason := reasonFor(err)
		if c.connected.Load() && isTimeout(err) {
			reason = WriteStalled
		}
		c.fail(reason, err)
		err = c.cause
	}
	return n, err
}

// Close is called by paho after it has sent DISCONNECT, when CONNACK refused the session, and when it
// closes the connection because of an error.
func (c *connection) Close() error {
	if c.leaving.Load() {
		c.out.flush()
	}
	c.fail(ProtocolBroken, errClosedByPaho)
	return nil
}

// SetDeadline is called by paho with the zero time when CONNACK has come. Until then Connect has set
// the deadline.
func (c *connection) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		return nil
	}
	c.connected.Store(true)
	return c.Conn.SetDeadline(time.Time{})
}

// SetReadDeadline does nothing: each Read sets its own deadline.
func (c *connection) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: each write sets its own deadline.
func (c *connection) SetWriteDeadline(time.Time) error { return nil }
