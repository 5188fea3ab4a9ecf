package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/transport"
)

// A publish is what the device published, and when.
type publish struct {
	topic, body string
	qos         byte
	at          time.Time
	done        func(error)
}

// A fakeSession records what the device does and lets a test play the hub.
type fakeSession struct {
	present      bool
	busy         atomic.Bool
	subscribed   []string
	unsubscribed []string
	mu           sync.Mutex              // guards what follows
	script       func(publish)           // what the hub does about each publish; nil means nothing
	refuse       func(call string) error // the error of a call; nil means none
	published    []publish
	held         []transport.Message
	completed    []string // the topics of the messages that got a PUBACK
	handler      func(transport.Message) bool
	ended        chan struct{}
	cause        error
}

func (s *fakeSession) Host() string           { return "hub-a" }
func (s *fakeSession) SessionPresent() bool   { return s.present }
func (s *fakeSession) Busy() bool             { return s.busy.Load() }
func (s *fakeSession) Ended() <-chan struct{} { return s.ended }
func (s *fakeSession) call(name string) error {
	s.mu.Lock()
	refuse := s.refuse
	s.mu.Unlock()
	if refuse == nil {
		return nil
	}
	return refuse(name)
}

func (s *fakeSession) Cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

func (s *fakeSession) Publish(_ context.Context, topic string, qos byte, payload []byte, done func(error)) error {
	if err := s.call("publish"); err != nil {
		return err
	}
	p := publish{topic, string(payload), qos, time.Now(), done}
	s.mu.Lock()
	s.published = append(s.published, p)
	script := s.script
	s.mu.Unlock()
	if script != nil {
		script(p)
	}
	return nil
}

func (s *fakeSession) Subscribe(ctx context.Context, _ byte, filters ...string) error {
	s.subscribed = append(s.subscribed, filters...)
	return s.ask(ctx, "subscribe")
}

func (s *fakeSession) Unsubscribe(ctx context.Context, filters ...string) error {
	s.unsubscribed = append(s.unsubscribed, filters...)
	return s.ask(ctx, "unsubscribe")
}

// ask calls refuse. The hub that never answers is an error, too: it waits for ctx.
func (s *fakeSession) ask(ctx context.Context, name string) error {
	err := s.call(name)
	if errors.Is(err, errSilent) {
		<-ctx.Done()
		err = ctx.Err()
	}
	return err
}

var errSilent = fmt.Errorf("the hub does not answer")

func (s *fakeSession) Detach() { s.Attach(nil) }

func (s *fakeSession) Attach(handler func(transport.Message) bool) {
	s.mu.Lock()
	s.handler = handler
	held := s.held
	s.held = nil
	s.mu.Unlock()
	for _, m := range held {
		s.deliver(m)
	}
}

// send has the hub send something. The device gets it when it is attached.
func (s *fakeSession) send(topic, body string) {
	ack := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.completed = append(s.completed, topic)
	}
	s.deliver(transport.Message{Topic: topic, Payload: []byte(body), SendAck: ack})
}

func (s *fakeSession) deliver(m transport.Message) {
	s.mu.Lock()
	handler := s.handler
	s.mu.Unlock()
	if handler == nil || !handler(m) {
		s.mu.Lock()
		s.held = append(s.held, m)
		s.mu.Unlock()
	}
}

// follow changes what the hub does about each publish.
func (s *fakeSession) follow(script func(publish)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// refuseBy changes the errors of calls.
func (s *fakeSession) refuseBy(refuse func(call string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// nth returns what was published, counted from 0.
func (s *fakeSession) nth(i int) publish {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.published[i]
}

// acked returns the topics of the messages that got a PUBACK.
func (s *fakeSession) acked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.completed)
}

// end ends the session.
func (s *fakeSession) end(reason transport.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cause = &transport.Error{Reason: reason, Host: "hub-a"}
	close(s.ended)
}
