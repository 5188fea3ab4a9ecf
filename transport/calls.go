package transport

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// pahoTimeout is how long paho waits to hand a packet to its writer. A publish that fails for that
// reason while the session lives is tried again.
const pahoTimeout = time.Second

// A call is a request that runCalls makes to paho.
type call struct {
	do      func()
	dropped func(error) // called instead of do, with the session's cause, if the session ends first
}

// callsLimit is how many calls are queued before the caller has to wait.
const callsLimit = 64

// runCalls runs all calls in order. It is the only goroutine that asks paho to send something: paho may
// block when the peer stalls or has just gone, and no caller should.
func (s *Session) runCalls() {
	for {
		select {
		case <-s.inbox.hasAcks: // acknowledgements first, because calls may come without end
			s.inbox.sendAcks()
			continue
		default:
		}
		select {
		case c := <-s.calls:
			c.do()
			// This loop is cheaper than the select for each call.
			for len(s.calls) > 0 && len(s.inbox.hasAcks) == 0 && s.Cause() == nil {
				c := <-s.calls
				c.do()
			}
		case <-s.inbox.hasAcks:
			s.inbox.sendAcks()
		case <-s.conn.ended:
			s.adding.Lock() // waits for running calls of enqueue; later ones see that the session has ended
			s.adding.Unlock()
			for len(s.calls) > 0 {
				c := <-s.calls
				c.dropped(s.Cause())
			}
			return
		}
	}
}

// enqueue queues a call. An error means that neither do nor dropped will be called.
func (s *Session) enqueue(ctx context.Context, c call) error {
	s.adding.RLock()
	defer s.adding.RUnlock()
	if cause := s.Cause(); cause != nil { // otherwise a queue with room would take a call that may never run
		return cause
	}
	select {
	case s.calls <- c: // the usual case, cheaper than the select below
		return nil
	default:
	}
	select {
	case s.calls <- c:
		return nil
	case <-s.conn.ended:
		return s.Cause()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retry calls start until paho accepts the packet or the session has ended. If paho timed out, it
// has not written the packet, so trying again makes no duplicate.
func (s *Session) retry(start func() mqtt.Token) mqtt.Token {
	for {
		token := start()
		err := token.Error()
		if err == nil || !strings.HasSuffix(err.Error(), "was broken by timeout") || s.Cause() != nil {
			return token
		}
	}
}

// await waits until paho has completed a token, ended is closed or ctx ends. With one client for each
// connection, nil means that the peer has answered, or at QoS 0 that the packet is in the send buffer.
func (s *Session) await(ctx context.Context, token mqtt.Token, ended <-chan struct{}) error {
	select {
	case <-token.Done():
	case <-ended:
		return s.Cause()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := token.Error()
	if err == nil {
		return nil
	}
	if errors.Is(err, mqtt.ErrNotConnected) { // paho is about to end the connection
		<-s.conn.ended
	}
	if cause := s.Cause(); cause != nil {
		return cause
	}
	return fmt.Errorf("transport: %s: %w", s.host, err)
}

// request starts an operation that the peer answers, and waits for the answer, the end of the
// session or the end of ctx.
func (s *Session) request(ctx context.Context, start func() mqtt.Token) (mqtt.Token, error) {
	started := make(chan mqtt.Token, 1)
	err := s.enqueue(ctx, call{do: func() { started <- s.retry(start) }, dropped: func(error) {}})
	if err != nil {
		return nil, err
	}
	select {
	case token := <-started:
		return token, s.await(ctx, token, s.conn.ended)
	case <-s.conn.ended:
		return nil, s.Cause()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Publish hands a message to the session; messages are sent in the order of the calls. If Publish
// returns nil, done is called once, and must not block: with nil when the hub has acknowledged the
// message (at QoS 0 when it was written to the network), or with an *Error that says why the
// outcome is unknown. Until done is called the payload must not change. If Publish returns an
// error, the message is not sent and done is not called.
func (s *Session) Publish(ctx context.Context, topic string, qos byte, payload []byte, done func(error)) error {
	if len(topic) > math.MaxUint16 { // paho would cut off a longer topic
		return fmt.Errorf("transport: %s: the topic has %d bytes: at most %d fit", s.host, len(topic), math.MaxUint16)
	}
	return s.enqueue(ctx, call{dropped: done, do: func() {
		token := s.retry(func() mqtt.Token { return s.client.Publish(topic, qos, false, payload) })
		if id := token.(*mqtt.PublishToken).MessageID(); id != 0 {
			s.conn.inFlight.add(id, done)
			return
		}
		s.work.Go(func() { // the message has QoS 0, or paho refused the message
			err := s.await(context.Background(), token, s.pahoDone) // paho may use the payload until pahoDone is closed
			if err == nil && !s.conn.out.flush() {
				err = s.Cause()
			}
			done(err)
		})
	}})
}

// Subscribe subscribes to the filters at a QoS, and waits for the answer. Its error has the reason
// SubscriptionRefused if the hub refuses a filter (SUBACK 0x80), which paho does not report as an
// error.
func (s *Session) Subscribe(ctx context.Context, qos byte, filters ...string) error {
	if len(filters) == 0 {
		return nil
	}
	wanted := map[string]byte{}
	for _, f := range filters {
		wanted[f] = qos
	}
	token, err := s.request(ctx, func() mqtt.Token { return s.client.SubscribeMultiple(wanted, nil) })
	if err != nil {
		return err
	}
	granted := token.(*mqtt.SubscribeToken).Result()
	for _, f := range filters {
		if code, ok := granted[f]; !ok || code > 2 {
			return &Error{Reason: SubscriptionRefused, Host: s.host,
				Err: fmt.Errorf("the hub refused to subscribe to %s", f)}
		}
	}
	return nil
}

// Unsubscribe ends subscriptions that an earlier session of this device may have left, and waits for
// the answer.
func (s *Session) Unsubscribe(ctx context.Context, filters ...string) error {
	if len(filters) == 0 {
		return nil
	}
	_, err := s.request(ctx, func() mqtt.Token { return s.client.Unsubscribe(filters...) })
	return err
}
