package transport

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var pingreq = []byte{0xc0, 0}

// A peer answers nothing before it has all of a packet, and no ping before it has what was sent before that. On a slow
// link this is no silence. So what large packets on their way have beyond gathered adds the time to Silence that it takes
// at slowRate.
const (
	slowRate    = 1 << 10 // bytes a second
	longestHaul = time.Minute
)

// pieceSize is how much is written under one deadline: a TLS record, at most.
const pieceSize = 16 << 10

// errGivenUp stands for what only paho's log would say.
var errGivenUp = errors.New("paho gave it up: a packet made no sense, or a ping has had no answer")

// A link is the connection as paho sees it. It ends once, with a cause, and every Read after that returns this cause:
// paho takes no notice of a connection that was closed under it, only of an error that says something else.
// It judges silence and stalled writes by itself and ignores the deadlines that paho sets.
type link struct {
	net.Conn            // TLS
	raw        net.Conn // what is closed: closing TLS would first wait to say good-bye to a peer that does not listen
	host       string
	frames     *frames
	out        *outgoing
	keepAlive  time.Duration
	silence    time.Duration
	writeLimit time.Duration

	up atomic.Bool // CONNACK has come; from now on silence is judged

	mu        sync.Mutex
	leaving   bool      // this side ends it, whatever else is noticed first
	listening time.Time // since when the Read waits that goes on, or the last one has waited
	heard     time.Time
	cause     error
	ended     chan struct{}
}

func newLink(conn, raw net.Conn, c Config, secrets mask) *link {
	l := &link{
		Conn: conn, raw: raw, host: c.Host,
		keepAlive: c.pingAfter(), silence: c.Silence, writeLimit: c.WriteTimeout,
		out: newOutgoing(), ended: make(chan struct{}),
	}
	l.frames = newFrames(c.Host, ear{l}, secrets, l.out)
	return l
}

// end closes the connection. The first cause counts.
func (l *link) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	if l.leaving {
		cause = &Error{Reason: ClosedLocally, Host: l.host}
	}
	l.cause = cause
	close(l.ended)
	l.raw.Close()
	l.out.end()
}

func (l *link) fail(reason Reason, err error) { l.end(&Error{Reason: reason, Host: l.host, Err: err}) }

func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

func (l *link) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = true
}

func (l *link) isLeaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaving
}

func (l *link) Read(p []byte) (int, error) {
	n, err := l.frames.Read(p)
	if err == nil {
		return n, nil
	}
	var bad *Error
	switch {
	case errors.As(err, &bad):
		l.end(bad)
	case l.up.Load() && isTimeout(err):
		l.fail(Silence, err)
	default:
		l.fail(reasonFor(err), err)
	}
	return n, l.why()
}

// An ear is where a link's frames are read from.
type ear struct{ *link }

func (e ear) Read(p []byte) (int, error) {
	if e.up.Load() {
		e.mu.Lock()
		e.listening = time.Now()
		e.mu.Unlock()
		e.judgeSilence()
	}
	n, err := e.Conn.Read(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = time.Now()
	return n, err
}

// judgeSilence sets when the Read that waits gives the peer up.
func (l *link) judgeSilence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, large := l.out.onWay()
	haul := time.Duration(large) * time.Second / slowRate
	l.Conn.SetReadDeadline(l.listening.Add(l.silence + min(haul, longestHaul)))
}

// ping asks for a sign of life as soon as nothing has been heard for keepAlive, which leaves the peer the rest of
// silence for its answer. paho's own pings come up to a quarter later, and would take most of that away.
func (l *link) ping() {
	wait := time.NewTimer(l.keepAlive)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
		case <-l.ended:
			return
		}
		l.mu.Lock()
		left := l.keepAlive - time.Since(l.heard)
		l.mu.Unlock()
		if left <= 0 {
			_, _ = l.Write(pingreq) // a failure has ended the link
			left = l.keepAlive
		}
		wait.Reset(left)
	}
}

// Write leaves what comes after CONNACK to send. Once it has failed, it fails for ever.
func (l *link) Write(p []byte) (int, error) {
	if !l.up.Load() {
		return l.write(p)
	}
	if !l.out.add(p) {
		return 0, l.why()
	}
	if len(p) > gathered {
		l.judgeSilence()
	}
	return len(p), nil
}

// send writes what paho has handed over, until the link ends.
func (l *link) send() {
	for batch := l.out.take(nil); batch != nil; batch = l.out.take(batch) {
		for piece := range slices.Chunk(batch, pieceSize) { // each has writeLimit, and not all of a large packet together
			l.Conn.SetWriteDeadline(time.Now().Add(l.writeLimit))
			n, err := l.write(piece)
			l.out.left(n)
			if err != nil { // which has ended the link
				break
			}
		}
	}
}

func (l *link) write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	if err != nil {
		reason := reasonFor(err)
		if l.up.Load() && isTimeout(err) {
			reason = WriteStalled
		}
		l.fail(reason, err)
		err = l.why()
	}
	return n, err
}

// Close is called by paho after DISCONNECT was written, when CONNACK was a refusal, and when it gives the connection up.
func (l *link) Close() error {
	if l.isLeaving() {
		l.out.drain()
	}
	l.fail(ProtocolBroken, errGivenUp)
	return nil
}

// SetDeadline with the zero time is how paho says that CONNACK has come; the deadline until then is Connect's.
func (l *link) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		return nil
	}
	l.up.Store(true)
	return l.Conn.SetDeadline(time.Time{})
}

// SetReadDeadline does nothing: the deadline rolls with each Read.
func (l *link) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: the deadline rolls with each write.
func (l *link) SetWriteDeadline(time.Time) error { return nil }
