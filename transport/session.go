// Package transport holds one MQTT session to one host: it dials, authenticates, publishes, receives, and ends with a
// cause. One session is one CONNECT; it never reconnects. DPS and hubs are met through the same Session.
package transport

import (
	"context"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// goodbye is how long an orderly end may take before the connection is cut.
const goodbye = time.Second

// A Session is one MQTT connection, from CONNACK to its end. Every wait in it ends with the session or the caller's ctx:
// paho's tokens alone may never complete on a session that is not clean.
type Session struct {
	host     string
	link     *link
	client   mqtt.Client
	present  bool
	inbox    *inbox
	calls    chan call
	asking   sync.RWMutex // for reading while calls may be added to
	receipts *receipts
	work     sync.WaitGroup
	heard    chan struct{} // closed when the session has ended and paho has taken in all that had come
	over     chan struct{} // closed when the last goroutine of the session has ended
}

// Connect opens a session: dial, TLS, CONNECT, CONNACK. It gives up when the peer says nothing for c.ConnectTimeout, and
// after connectLimit times as long. Its errors are *Error.
func Connect(ctx context.Context, c Config) (*Session, error) {
	c.Link = c.WithDefaults()
	if c.Password == nil {
		c.Password = func(time.Time) (string, error) { return "", nil }
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit*c.ConnectTimeout)
	defer cancel()
	conn, raw, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	password, err := c.Password(c.Now())
	if err != nil {
		raw.Close()
		return nil, &Error{Reason: KeyUnusable, Host: c.Host, Err: keyless(err)}
	}
	s := &Session{
		host: c.Host, link: newLink(conn, raw, c, maskFor(password)), inbox: newInbox(),
		calls: make(chan call, callsLimit), heard: make(chan struct{}), over: make(chan struct{}),
	}
	s.receipts = s.link.frames.receipts
	s.client = mqtt.NewClient(s.options(c, password))
	stop := context.AfterFunc(ctx, func() { s.link.fail(reasonFor(ctx.Err()), ctx.Err()) })
	token := s.client.Connect().(*mqtt.ConnectToken)
	<-token.Done() // soon: the link ends with ctx
	switch inTime := stop(); {
	case token.Error() != nil: // no Disconnect: paho has nothing to end, and might wait a second for it
		return nil, s.connectError(token)
	case !inTime:
		s.link.fail(reasonFor(ctx.Err()), ctx.Err())
		s.client.Disconnect(uint(goodbye.Milliseconds()))
		return nil, s.Cause()
	}
	s.present = token.SessionPresent()
	s.work.Go(s.speak)
	s.work.Go(s.listen)
	s.work.Go(s.link.ping)
	s.work.Go(s.link.send)
	go s.own()
	return s, nil
}

func (s *Session) options(c Config, password string) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions()
	o.Servers = []*url.URL{{Scheme: "tls", Host: c.Host}} // not dialed: the connection is open already
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return s.link, nil })
	o.SetProtocolVersion(4)
	o.SetClientID(c.ClientID).SetUsername(c.Username).SetPassword(password)
	o.SetCleanSession(c.CleanSession)
	o.SetAutoReconnect(false).SetConnectRetry(false)
	o.SetStore(noStore{})
	o.SetOrderMatters(true).SetAutoAckDisabled(true)
	o.SetKeepAlive(c.hubKeepAlive()).SetPingTimeout(2*c.Silence + longestHaul) // the link judges silence, and sooner
	o.SetConnectTimeout(c.ConnectTimeout).SetWriteTimeout(pahoPatience)
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { s.receive(m) })
	return o
}

// connectError is why CONNECT failed: the CONNACK code when there was one, otherwise how the link ended.
func (s *Session) connectError(token *mqtt.ConnectToken) error {
	s.link.fail(ProtocolBroken, token.Error()) // has ended already: paho closes it
	if code := token.ReturnCode(); code > packets.Accepted && code <= packets.ErrRefusedNotAuthorised {
		return &Error{Reason: connackReason(code), Host: s.host, Err: token.Error()}
	}
	return s.Cause()
}

// own waits for the end of the link and then of everything that lived on it.
func (s *Session) own() {
	<-s.link.ended
	s.inbox.close()
	s.client.Disconnect(uint((10 * pahoPatience).Milliseconds())) // returns when paho's goroutines have ended
	close(s.heard)
	s.receipts.end(s.Cause())
	s.work.Wait()
	close(s.over)
}

// Host is the host as the session's Config named it.
func (s *Session) Host() string { return s.host }

// SessionPresent reports whether the hub has kept a session of this device.
func (s *Session) SessionPresent() bool { return s.present }

// Ended is closed when the session has ended; Cause then says why.
func (s *Session) Ended() <-chan struct{} { return s.link.ended }

// Cause is why the session ended, or nil while it lives.
func (s *Session) Cause() error { return s.link.why() }

// Busy tells whether an answer may take longer than usual: part of a packet has come, or much is on its way to the peer.
func (s *Session) Busy() bool {
	all, _ := s.link.out.onWay()
	return s.link.frames.arriving.Load() || all > gathered
}

// Done is closed when all goroutines of the session have returned, some time after Ended.
func (s *Session) Done() <-chan struct{} { return s.over }

// Close sends what was started and acknowledged before it, then DISCONNECT, ends the session and waits until nothing of it
// is left running, or ctx ends. A peer that does not take DISCONNECT is cut off after a second. It may be called more than
// once, but not by a handler or a done, for which it would wait.
func (s *Session) Close(ctx context.Context) error {
	leave, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	cut := context.AfterFunc(leave, func() { s.link.fail(ClosedLocally, nil) })
	defer cut()
	err := s.say(leave, call{func() {
		s.inbox.acknowledge()
		s.link.leave()
		s.client.Disconnect(uint(goodbye.Milliseconds()))
		s.link.fail(ClosedLocally, nil)
	}, func(error) {}})
	if err != nil {
		s.link.fail(ClosedLocally, nil)
	}
	select {
	case <-s.over:
		return nil
	case <-ctx.Done():
		s.link.fail(ClosedLocally, nil)
		return ctx.Err()
	}
}
