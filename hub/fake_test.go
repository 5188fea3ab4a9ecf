package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
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

// A world is a Hub with an outbox, and the session that it has.
type world struct {
	*Hub
	t       *testing.T
	box     *outbox.Memory
	session *fakeSession
	works   chan error // what Work has returned
	leave   context.CancelFunc
	drops   []string

	mu      sync.Mutex
	records []observe.Record
}

// bubble runs a test in fake time, on a Hub without a session.
func bubble(t *testing.T, s Settings, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t}
		w.box = outbox.NewMemory(outbox.Options{Dropped: func(d outbox.Drop) {
			w.drops = append(w.drops, fmt.Sprint(d.Numbers.First, " ", string(d.Reason())))
		}})
		if s.Outbox == nil {
			s.Outbox = w.box
		}
		s.Emit = func(r observe.Record) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.records = append(w.records, r)
		}
		if s.Date == nil {
			s.Date = func(r outbox.Reading) (time.Time, bool) { return r.Taken, false }
		}
		w.Hub = New(s)
		test(t, w)
		if w.session != nil && w.session.Cause() == nil {
			w.disconnect(transport.ClosedLocally)
		}
		w.Close(context.Background())
		w.End()
	})
}

// connect gives the Hub a new session whose hub follows a script, and lets it work.
func (w *world) connect(script func(publish)) *fakeSession {
	w.session = &fakeSession{script: script, ended: make(chan struct{})}
	w.work()
	return w.session
}

func (w *world) work() {
	w.Attach(w.session, "dev1")
	ctx, leave := context.WithCancel(context.Background())
	w.works, w.leave = make(chan error, 1), leave
	go func(works chan error) { works <- w.Work(ctx) }(w.works)
	synctest.Wait()
}

// pause ends Work, if it works, as another state of the device does, and returns what it returned.
func (w *world) pause() error {
	if w.works == nil {
		return nil
	}
	w.leave()
	return w.worked()
}

// worked waits until Work returns, and returns what it returned.
func (w *world) worked() error {
	err := <-w.works
	w.works = nil
	w.leave()
	w.Detach()
	return err
}

// disconnect ends the session, and returns what Work returned.
func (w *world) disconnect(reason transport.Reason) error {
	w.session.end(reason)
	synctest.Wait()
	err := w.pause()
	w.Release()
	return err
}

// put puts readings with so many bytes into the outbox.
func (w *world) put(count, size int) {
	w.t.Helper()
	w.accept(count, size)
	synctest.Wait()
}

func (w *world) accept(count, size int) {
	for range count {
		r := payloads.Reading{Body: []byte(strings.Repeat("1", size)), Taken: time.Now()}
		if _, err := w.box.Put(context.Background(), r, outbox.Stamp{}); err != nil {
			w.t.Error(err)
		}
	}
}

// sent returns the readings that were published since a time: number, lane and seconds, such as "3b+2".
func (w *world) sent(since time.Time) string {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	var all []string
	for _, p := range w.session.published {
		if p.qos != 1 || p.at.Before(since) {
			continue
		}
		one := numberOf(p)
		if strings.Contains(p.topic, BacklogProperty+"=backlog") {
			one += "b"
		}
		all = append(all, fmt.Sprintf("%s+%g", one, p.at.Sub(since).Seconds()))
	}
	return strings.Join(all, " ")
}

// numberOf returns the number of a published reading.
func numberOf(p publish) string {
	_, id, _ := strings.Cut(p.topic, "%24.mid=")
	id, _, _ = strings.Cut(id, "&")
	return id[strings.LastIndexByte(id, '-')+1:]
}

// requests returns the requests that were published since a time, without their IDs: topic, body
// and seconds.
func (w *world) requests(since time.Time) (all []string) {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	for _, p := range w.session.published {
		if topic, _, ok := strings.Cut(p.topic, "/?$rid="); ok && p.qos == 0 && !p.at.Before(since) {
			topic = strings.TrimPrefix(topic, "$iothub/")
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s+%g %s", topic, p.at.Sub(since).Seconds(), p.body)))
		}
	}
	return all
}

// recorded takes the records so far: kind, name, ID, status and error.
func (w *world) recorded(kind observe.Kind) (all []string) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var others []observe.Record
	for _, r := range w.records {
		if r.Kind != kind {
			others = append(others, r)
			continue
		}
		one := strings.Join(strings.Fields(fmt.Sprint(r.Name, " ", r.ID, " ", r.Hub, " ", r.Status, " ", r.Error)), " ")
		all = append(all, one)
	}
	w.records = others
	return all
}

func (w *world) want(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}
