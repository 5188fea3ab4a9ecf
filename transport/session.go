package transport

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// disconnectTimeout bounds the writing of DISCONNECT and of what is sent before it. After that time
// the connection is closed.
const disconnectTimeout = time.Second

// A Session is one MQTT connection, from CONNACK to its end. All waiting in it ends with the session or
// with the caller's ctx: paho's tokens alone may never complete when the session is not clean.
type Session struct {
	host           string
	conn           *connection
	client         mqtt.Client
	sessionPresent bool
	inbox          *inbox
	calls          chan call
	adding         sync.RWMutex   // is held for reading while a call is added to calls
	work           sync.WaitGroup // the goroutines of the session
	// is closed when paho's goroutines have returned, so that every packet read is handled
	pahoDone chan struct{}
	done     chan struct{} // is closed when all goroutines have returned
}

// Connect opens a session: dial, TLS, CONNECT, CONNACK. Connect fails when the dial takes longer than
// c.ConnectTimeout, when the peer is then silent for c.AnswerTimeout, and in any case after six times
// as long. It does not wait longer for a Dial, RootCAs or Password that hangs: the goroutine of that
// call then ends when the call returns. Its errors are *Error.
func Connect(ctx context.Context, c Config) (*Session, error) {
	c.Link = c.WithDefaults()
	ctx, cancel := context.WithTimeout(ctx, connectLimit*c.AnswerTimeout)
	defer cancel()
	conn, raw, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	password := ""
	if c.Password != nil {
		password, err = bounded(ctx, "the key source", func() (string, error) {
			password, err := c.Password(c.Now())
			return password, withoutKey(err)
		}, nil)
		if err != nil {
			raw.Close()
			return nil, &Error{Reason: KeyUnusable, Host: c.Host, Err: err}
		}
	}
	s := &Session{
		host: c.Host, conn: newConnection(conn, raw, c, maskFor(password)), inbox: newInbox(),
		calls: make(chan call, callsLimit), pahoDone: make(chan struct{}), done: make(chan struct{}),
	}
	s.client = mqtt.NewClient(s.options(c, password))
	stop := context.AfterFunc(ctx, func() { s.conn.fail(reasonFor(ctx.Err()), ctx.Err()) })
	token := s.client.Connect().(*mqtt.ConnectToken)
	<-token.Done() // returns when ctx ends at the latest, because that ends the connection
	switch inTime := stop(); {
	case token.Error() != nil: // no Disconnect: paho has nothing to end, and might wait a second for it
		return nil, s.connectError(token)
	case !inTime:
		s.conn.fail(reasonFor(ctx.Err()), ctx.Err())
		s.client.Disconnect(uint(disconnectTimeout.Milliseconds()))
		return nil, s.Cause()
	}
	s.sessionPresent = token.SessionPresent()
	s.work.Go(s.runCalls)
	s.work.Go(s.inbox.deliver)
	s.work.Go(s.conn.ping)
	s.work.Go(s.conn.send)
	go s.finish()
	return s, nil
}

func (s *Session) options(c Config, password string) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions()
	o.Servers = []*url.URL{{Scheme: "tls", Host: c.Host}} // is not dialed: the connection is open already
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return s.conn, nil })
	o.SetProtocolVersion(4)
	o.SetClientID(c.ClientID).SetUsername(c.Username).SetPassword(password)
	o.SetCleanSession(c.CleanSession)
	o.SetAutoReconnect(false).SetConnectRetry(false)
	o.SetStore(noStore{})
	o.SetOrderMatters(true).SetAutoAckDisabled(true)
	o.SetKeepAlive(c.hubKeepAlive())
	o.SetPingTimeout(2*c.Silence + longestExtension) // longer than the connection waits for a TLS record
	o.SetConnectTimeout(c.AnswerTimeout).SetWriteTimeout(pahoTimeout)
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { s.inbox.add(m) })
	return o
}

// connectError returns the reason of a CONNACK that refused the session, otherwise how the connection
// ended.
func (s *Session) connectError(token *mqtt.ConnectToken) error {
	// has no effect if the connection has ended, as it does when paho closes it
	s.conn.fail(ProtocolBroken, token.Error())
	if code := token.ReturnCode(); code > packets.Accepted && code <= packets.ErrRefusedNotAuthorised {
		return &Error{Reason: cmp.Or(connackReasons[code], ConnectRejected), Host: s.host, Err: token.Error()}
	}
	if e, ok := errors.AsType[*Error](s.Cause()); ok && e.Reason == TimedOut {
		return &Error{Reason: TimedOut, Host: s.host, Stalled: true, Err: e.Err}
	}
	return s.Cause()
}

// finish waits for the end of the connection and then of all goroutines.
func (s *Session) finish() {
	<-s.conn.ended
	s.inbox.close()
	s.client.Disconnect(uint((10 * pahoTimeout).Milliseconds())) // returns when paho's goroutines have returned
	close(s.pahoDone)
	s.conn.inFlight.end(s.Cause())
	s.work.Wait()
	close(s.done)
}

// Host returns the host as the session's Config names it.
func (s *Session) Host() string { return s.host }

// SessionPresent reports whether the hub has kept a session of this device.
func (s *Session) SessionPresent() bool { return s.sessionPresent }

// Ended is closed when the session has ended: it accepts nothing more, and Cause says why.
func (s *Session) Ended() <-chan struct{} { return s.conn.ended }

// Cause returns why the session has ended, an *Error, or nil before that.
func (s *Session) Cause() error { return s.conn.endCause() }

// Busy reports whether an answer may take longer than usual, because only a part of a packet has
// come, or because more than recordSize bytes are in flight.
func (s *Session) Busy() bool {
	all, _ := s.conn.out.inFlight()
	return s.conn.packets.arriving.Load() || all > recordSize
}

// Done is closed when all goroutines of the session have returned, some time after Ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Close sends what was published and acknowledged before the call, then DISCONNECT, and ends the
// session. It waits until all goroutines of the session have returned, or returns the error of ctx.
// If the peer does not read DISCONNECT within a second, the connection is closed. Close may be
// called more than once, but not by a handler or a done function, because Close waits for these to
// return.
func (s *Session) Close(ctx context.Context) error {
	inTime, cancel := context.WithTimeout(ctx, disconnectTimeout)
	defer cancel()
	end := func() { s.conn.fail(ClosedLocally, nil) }
	defer context.AfterFunc(inTime, end)()
	err := s.enqueue(inTime, call{func() {
		s.inbox.sendAcks()
		s.conn.leaving.Store(true)
		s.client.Disconnect(uint(disconnectTimeout.Milliseconds()))
		end()
	}, func(error) {}})
	if err != nil {
		end()
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		end()
		return ctx.Err()
	}
}
