package drill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// A vice is a defect of a simple client.
type vice string

const (
	none             vice = ""
	skipsReadings    vice = "it takes no readings while it is disconnected"
	forgetsReadings  vice = "it numbers readings and does not keep those that cannot be sent"
	ignoresTheTwin   vice = "it never reads the twin again"
	acknowledgesOne  vice = "it acknowledges one of several properties"
	namesNoVersion   vice = "it acknowledges without a version"
	answersOtherwise vice = "it acknowledges a value that is not the desired one"
	hangsOnAHalfOpen vice = "it does not notice a link that is half-open"
	storms           vice = "it connects again and again without a pause"
	answersNoMethod  vice = "it answers no method"
	completesNothing vice = "it completes no command"
	sendsTwice       vice = "it sends each reading twice"
	sendsBackwards   vice = "it sends readings that waited newest first"
	diesWithItsHub   vice = "it ends when its hub dies"
	breaksTheRules   vice = "it subscribes to what no device may"
	diesAtOnce       vice = "it ends after a second"
	hasAnotherKey    vice = "it signs with another key"
	staysAtItsHub    vice = "it never asks DPS again"
	hammersItsHub    vice = "it never asks DPS again and connects without a pause"
)

// A simple client does what is expected, except for one vice.
type simple struct {
	vice
	drill.Place
	dial     transport.DialFunc
	link     transport.Link
	key      transport.Key
	asked    int
	home     provisioning.Assignment // the last answer of DPS
	session  *transport.Session
	incoming chan transport.Message

	mu        sync.Mutex
	connected bool
	waiting   []int // numbers of readings
	taken     int
	took      chan struct{} // has a value when one was taken
}

const anotherKey = "YW5vdGhlciBrZXkgb2YgMzIgYnl0ZXMsIHNvIGxvbmc="

type running struct {
	cancel context.CancelFunc
	ended  chan struct{}
	died   string
}

func (r *running) Ended() <-chan struct{} { return r.ended }

func (r *running) Stop(context.Context) drill.Usage {
	r.cancel()
	<-r.ended
	return drill.Usage{Died: r.died}
}

func (s *simple) Start(p drill.Place) (drill.Running, error) {
	key, err := transport.ParseKey(p.DeviceKey)
	if err != nil {
		return nil, err
	}
	if s.vice == hasAnotherKey {
		if key, err = transport.ParseKey(anotherKey); err != nil {
			return nil, err
		}
	}
	s.Place, s.key, s.took = p, key, make(chan struct{}, 1)
	s.link = transport.Link{Dial: s.dial, RootCAs: transport.FixedRoots(p.RootCAs)}
	if s.vice == hangsOnAHalfOpen {
		s.link.KeepAlive, s.link.Silence, s.link.WriteTimeout = 10*time.Minute, 21*time.Minute, 21*time.Minute
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		var taking sync.WaitGroup
		taking.Go(func() { s.take(ctx) })
		if err := s.live(ctx); ctx.Err() == nil {
			r.died = fmt.Sprintf("ended by itself: %v", err)
		}
		cancel()
		taking.Wait()
	}()
	return r, nil
}

func (s *simple) live(ctx context.Context) error {
	defer s.leave()
	if s.vice == diesAtOnce {
		time.Sleep(time.Second)
		return errors.New("it has no configuration")
	}
	for again := time.Duration(0); ctx.Err() == nil; {
		err := s.connect(ctx)
		if err == nil {
			s.online(true)
			err = s.work(ctx)
			s.online(false)
			again = 0
		}
		s.leave()
		if s.vice == diesWithItsHub {
			return err
		}
		again = min(2*again+500*time.Millisecond, 10*time.Second)
		if s.vice == storms || s.vice == hammersItsHub {
			again = 100 * time.Millisecond
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
		}
	}
	return nil
}

func (s *simple) online(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connected = yes
}

// take takes readings all the time.
func (s *simple) take(ctx context.Context) {
	for tick := time.NewTicker(s.Interval); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
		s.mu.Lock()
		if s.connected || s.vice != skipsReadings {
			s.taken++
		}
		if s.connected || s.vice != skipsReadings && s.vice != forgetsReadings {
			s.waiting = append(s.waiting, s.taken)
		}
		s.mu.Unlock()
		select {
		case s.took <- struct{}{}:
		default:
		}
	}
}

// register asks DPS for the hub.
func (s *simple) register(ctx context.Context) (provisioning.Assignment, error) {
	if (s.vice == staysAtItsHub || s.vice == hammersItsHub) && s.home.Hub != "" {
		return s.home, nil
	}
	source := func() (transport.Key, error) { return s.key, nil }
	hub, err := provisioning.Register(ctx, provisioning.Request{
		Identity: provisioning.Identity{
			ProvisioningHost: s.ProvisioningHost, IDScope: s.IDScope, RegistrationID: s.DeviceID, Key: source,
		},
		Link: s.link,
	})
	s.home = hub
	return hub, err
}

// connect asks DPS each time.
func (s *simple) connect(ctx context.Context) error {
	hub, err := s.register(ctx)
	if err != nil {
		return err
	}
	c := transport.Config{Link: s.link}
	c.Host, c.ClientID, c.Username = hub.Hub, s.DeviceID, payloads.HubUsername(hub.Hub, s.DeviceID, "")
	c.Password = func(now time.Time) (string, error) {
		return transport.SAS(hub.Hub+"/devices/"+s.DeviceID, "", s.key, now.Add(time.Hour)), nil
	}
	if s.session, err = transport.Connect(ctx, c); err != nil {
		return err
	}
	s.incoming = make(chan transport.Message, 100)
	incoming := s.incoming
	s.session.Attach(func(m transport.Message) bool { incoming <- m; return true })
	filters := []string{payloads.TwinAnswerFilter, payloads.DesiredFilter, payloads.MethodFilter}
	if err := s.session.Subscribe(ctx, 0, filters...); err != nil {
		return err
	}
	if err := s.session.Subscribe(ctx, 1, payloads.CommandFilter(s.DeviceID)); err != nil {
		return err
	}
	if s.vice == breaksTheRules {
		_ = s.session.Subscribe(ctx, 1, "devices/+/messages/#")
	}
	if s.vice == ignoresTheTwin && s.asked > 0 {
		return nil
	}
	s.asked++
	return s.publish(ctx, payloads.TwinGetTopic("get"), 0, nil)
}

// publish waits until the hub has acknowledged a message, or at QoS 0 until it is written.
func (s *simple) publish(ctx context.Context, topic string, qos byte, payload []byte) error {
	done := make(chan error, 1)
	if err := s.session.Publish(ctx, topic, qos, payload, func(err error) { done <- err }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *simple) leave() {
	if s.session != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.session.Close(ctx)
		s.session = nil
	}
}

func (s *simple) work(ctx context.Context) error {
	for {
		if err := s.send(ctx); err != nil {
			return err
		}
		select {
		case <-s.took:
		case m := <-s.incoming:
			if err := s.answer(ctx, m); err != nil {
				return err
			}
		case <-s.session.Ended():
			return s.session.Cause()
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *simple) send(ctx context.Context) error {
	for n := s.next(); n > 0; n = s.next() {
		topic := payloads.Reading{}.Topic(s.DeviceID, fmt.Sprintf("run-%d", n))
		for range map[bool]int{false: 1, true: 2}[s.vice == sendsTwice] {
			if err := s.publish(ctx, topic, 1, []byte("1")); err != nil {
				return err
			}
		}
		s.mu.Lock()
		s.waiting = slices.DeleteFunc(s.waiting, func(w int) bool { return w == n })
		s.mu.Unlock()
	}
	return nil
}

func (s *simple) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.waiting) == 0:
		return 0
	case s.vice == sendsBackwards:
		return slices.Max(s.waiting)
	}
	return s.waiting[0]
}

func (s *simple) answer(ctx context.Context, m transport.Message) error {
	switch {
	case strings.HasPrefix(m.Topic, payloads.MethodPrefix):
		r, err := payloads.ParseMethod(m.Topic, m.Payload)
		if err != nil || s.vice == answersNoMethod {
			return err
		}
		topic, body, err := payloads.MethodAnswer(200, r.RequestID, nil)
		if err != nil {
			return err
		}
		return s.publish(ctx, topic, 0, body)
	case strings.HasPrefix(m.Topic, "devices/"):
		if s.vice != completesNothing {
			m.Ack()
		}
		return nil
	}
	return s.acknowledge(ctx, m)
}

func (s *simple) acknowledge(ctx context.Context, m transport.Message) error {
	var desired payloads.Desired
	var err error
	switch {
	case strings.HasPrefix(m.Topic, payloads.TwinAnswerPrefix+"200/?$rid=get"):
		var twin payloads.Twin
		twin, err = payloads.ParseTwin(m.Payload)
		desired = twin.Desired
	case !strings.HasPrefix(m.Topic, payloads.TwinAnswerPrefix):
		desired, err = payloads.ParseDesired(m.Topic, m.Payload)
	}
	if len(desired.Properties) == 0 || err != nil {
		return err
	}
	var answers []payloads.AcknowledgedProperty
	for _, p := range desired.Properties {
		answers = append(answers, payloads.AcknowledgedProperty{DesiredProperty: p,
			PropertyAck: payloads.PropertyAck{Value: p.Value, Code: 200, Version: desired.Version}})
	}
	if s.vice == acknowledgesOne {
		answers = answers[:1]
	}
	if s.vice == answersOtherwise {
		answers[0].PropertyAck.Value = json.RawMessage(`"otherwise"`)
	}
	patch := payloads.PropertyAckPatch(answers)
	if s.vice == namesNoVersion {
		for _, p := range desired.Properties {
			patch[p.Name] = map[string]any{"value": p.Value, "ac": 200}
		}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return s.publish(ctx, payloads.ReportTopic("answer"), 0, body)
}
