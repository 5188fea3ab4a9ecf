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

// pahoPatience is how long one call into paho may block once its connection has gone. A publish that it gives up for
// that reason while the session lives is handed to it again.
const pahoPatience = time.Second

// A call is something to ask of paho. unasked is told why in its place when the session ends before.
type call struct {
	do      func()
	unasked func(error)
}

// callsLimit is how many calls wait for paho before whoever has another one has to.
const callsLimit = 64

// speak is the only goroutine that asks paho for anything, which keeps publishes and acknowledgements in order: paho may
// block on a link that stalls or has just died, and no caller should.
func (s *Session) speak() {
	for {
		select {
		case <-s.inbox.toAck: // first, for there may be calls without end
			s.inbox.acknowledge()
			continue
		default:
		}
		select {
		case c := <-s.calls:
			c.do()
			for len(s.calls) > 0 && len(s.inbox.toAck) == 0 && s.Cause() == nil { // which costs less than select
				c := <-s.calls
				c.do()
			}
		case <-s.inbox.toAck:
			s.inbox.acknowledge()
		case <-s.link.ended:
			s.asking.Lock() // who asks from now on sees that the link has ended
			s.asking.Unlock()
			for len(s.calls) > 0 {
				c := <-s.calls
				c.unasked(s.Cause())
			}
			return
		}
	}
}

// gaveUp tells whether paho returned the call untried because its connection took no packet for pahoPatience. Such a
// packet has not been written, so asking again makes no duplicate.
func gaveUp(token mqtt.Token) bool {
	select {
	case <-token.Done():
		return token.Error() != nil && strings.HasSuffix(token.Error().Error(), "was broken by timeout")
	default:
		return false
	}
}

// result waits for the token or the end of the session, and then until an acknowledgement that came just before it has been
// taken in. With one client per connection, nil means acknowledged. ErrNotConnected says that paho is ending the link, which
// takes a moment.
func (s *Session) result(token mqtt.Token) error {
	select {
	case <-token.Done():
	case <-s.heard:
		select {
		case <-token.Done():
		default:
			return s.Cause()
		}
	}
	if err := token.Error(); err != nil {
		if errors.Is(err, mqtt.ErrNotConnected) {
			<-s.link.ended
		}
		if cause := s.Cause(); cause != nil {
			return cause
		}
		return fmt.Errorf("transport: %s: %w", s.host, err)
	}
	return nil
}

// written is result, and waits until what paho has handed over is on its way to the peer.
func (s *Session) written(token mqtt.Token) error {
	err := s.result(token)
	if err == nil && !s.link.out.drain() {
		err = s.Cause()
	}
	return err
}

// ask has paho start something. If it returns nil, done is told how that ended.
func (s *Session) ask(ctx context.Context, start func() mqtt.Token, done func(mqtt.Token, error)) error {
	return s.say(ctx, call{
		do: func() {
			token := s.try(start)
			s.work.Go(func() { done(token, s.result(token)) })
		},
		unasked: func(err error) { done(nil, err) },
	})
}

func (s *Session) try(start func() mqtt.Token) mqtt.Token {
	token := start()
	for gaveUp(token) && s.Cause() == nil {
		token = start()
	}
	return token
}

// say has speak make a call.
func (s *Session) say(ctx context.Context, c call) error {
	s.asking.RLock()
	defer s.asking.RUnlock()
	select {
	case <-s.link.ended: // first: a dead session must not win the race below
		return s.Cause()
	default:
	}
	select {
	case s.calls <- c: // mostly, and without the cost of the others
		return nil
	default:
	}
	select {
	case s.calls <- c:
		return nil
	case <-s.link.ended:
		return s.Cause()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Publish hands a message to the session, in order. When it returns nil, done is called once, and must not block:
// with nil when the hub has acknowledged the message (QoS 0: when it was written), else with why that is not known.
// Until then the payload must not change.
func (s *Session) Publish(ctx context.Context, topic string, qos byte, payload []byte, done func(error)) error {
	if len(topic) > math.MaxUint16 { // paho would cut it off
		return fmt.Errorf("transport: %s: a topic of %d bytes, at most %d fit", s.host, len(topic), math.MaxUint16)
	}
	return s.say(ctx, call{unasked: done, do: func() {
		token := s.try(func() mqtt.Token { return s.client.Publish(topic, qos, false, payload) })
		if id := token.(*mqtt.PublishToken).MessageID(); id != 0 {
			s.receipts.expect(id, done)
			return
		}
		s.work.Go(func() { done(s.written(token)) }) // at QoS 0, or paho would not have it
	}})
}

// Subscribe asks for the filters at QoS qos and checks every one of the answers.
func (s *Session) Subscribe(ctx context.Context, qos byte, filters ...string) error {
	if len(filters) == 0 {
		return nil
	}
	wanted := map[string]byte{}
	for _, f := range filters {
		wanted[f] = qos
	}
	done := make(chan error, 1)
	err := s.ask(ctx,
		func() mqtt.Token { return s.client.SubscribeMultiple(wanted, nil) },
		func(t mqtt.Token, err error) {
			if err == nil { // else paho may still be writing into the token
				err = s.refusedFilters(t.(*mqtt.SubscribeToken), filters)
			}
			done <- err
		})
	if err != nil {
		return err
	}
	return s.await(ctx, done)
}

// refusedFilters finds the filters that SUBACK answered with 0x80, which paho does not take for an error, or not at all.
func (s *Session) refusedFilters(token *mqtt.SubscribeToken, filters []string) error {
	granted := token.Result()
	for _, f := range filters {
		if code, ok := granted[f]; !ok || code > 2 {
			return &Error{Reason: SubscriptionRefused, Host: s.host, Err: fmt.Errorf("the hub refused to subscribe to %s", f)}
		}
	}
	return nil
}

// Unsubscribe ends subscriptions that an earlier session of this device may have left behind.
func (s *Session) Unsubscribe(ctx context.Context, filters ...string) error {
	if len(filters) == 0 {
		return nil
	}
	done := make(chan error, 1)
	err := s.ask(ctx,
		func() mqtt.Token { return s.client.Unsubscribe(filters...) },
		func(_ mqtt.Token, err error) { done <- err })
	if err != nil {
		return err
	}
	return s.await(ctx, done)
}

// await does not wait for paho once the session has ended.
func (s *Session) await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-s.link.ended:
		return s.Cause()
	case <-ctx.Done():
		return ctx.Err()
	}
}
