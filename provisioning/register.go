// Package provisioning asks the Device Provisioning Service (DPS) which hub is ours and remembers the answer.
package provisioning

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

const (
	// defaultPoll is the delay before the next poll when DPS names none, as Microsoft's SDKs have it.
	defaultPoll = 2 * time.Second
	// DPS takes so many polls of one device in each window of 10 s, whatever its retry-after says. It counts when they come, and
	// the next may travel faster, or be sent more promptly: hence the second more.
	// https://learn.microsoft.com/azure/iot-dps/about-iot-dps#quotas-and-limits
	pollLimit  = 5
	pollWindow = 11 * time.Second
	// answerTimeout bounds one request: they travel without a promise, and one that was lost is never answered.
	answerTimeout = 10 * time.Second
	// patience bounds the whole registration, all delays that DPS asks for included.
	patience = 2 * time.Minute
	// closePatience bounds the wait for a session that is ended.
	closePatience = 3 * time.Second
	// tokenLife is far more than a registration takes.
	tokenLife = time.Hour
)

// A Request is one registration: who asks, and how.
type Request struct {
	Identity
	Payload any            // sent with the registration; nil means the model of Identity, if it has one
	Polls   *Polls         // shared by all registrations of one device; nil means that there are no others
	Link    transport.Link // how to reach DPS

	// Ended is given a session that has ended by itself, and then waits for its end in Register's place. Optional.
	Ended func(*transport.Session)
	// Warn is told what could not be read of an answer that was read otherwise. Optional.
	Warn func(error)
}

// Polls remember when DPS was polled, over registrations: it counts them by device. The zero value is ready; it is for one
// registration at a time.
type Polls struct{ latest []time.Time }

// next is how long to wait before the next poll: the delay, or longer when DPS would take no more.
func (p *Polls) next(delay time.Duration) time.Duration {
	if len(p.latest) == pollLimit {
		delay = max(delay, time.Until(p.latest[0].Add(pollWindow)))
		p.latest = p.latest[1:]
	}
	p.latest = append(p.latest, time.Now().Add(delay))
	return delay
}

// MaxPayload is the largest payload that is kept with an assignment: DPS's own limit for a message.
// azure-docs includes/iot-dps-limits.md
const MaxPayload = 96 << 10 // bytes

// An Assignment is DPS's answer.
type Assignment struct {
	Hub       string    // as DPS gave it, a port included
	DeviceID  string    // may differ from the registration ID
	Substatus string    // initialAssignment, deviceDataMigrated, …; may be ""
	Payload   string    // JSON of a custom allocation, byte for byte; "" means none. It may be secret: nothing prints it
	Updated   time.Time // a time at which DPS's clock has been; zero when it named none. It is not stored
	TooLarge  int       // bytes of a payload that was left out, being above MaxPayload; zero means that none was
}

// Register asks DPS which hub is ours. A 202's retry-after is waited here. It takes two minutes at most, in which case
// DPS counts as unavailable. Its errors are *Error, or ctx's.
func Register(ctx context.Context, r Request) (Assignment, error) {
	r.Identity = r.WithDefaults()
	if r.Payload == nil {
		r.Payload = r.payload()
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a, err := r.register(bounded)
	switch {
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return Assignment{}, ctx.Err()
	}
	var e *Error
	if !errors.As(err, &e) {
		e = fromTransport(r.ProvisioningHost, err)
	}
	return Assignment{}, e
}

func (r Request) register(ctx context.Context) (Assignment, error) {
	body, err := payloads.RegisterBody(r.RegistrationID, r.Payload)
	if err != nil {
		return Assignment{}, &Error{Verdict: Refused, Host: r.ProvisioningHost, Advice: adviceRequest, Err: err}
	}
	session, err := transport.Connect(ctx, r.config())
	if err != nil {
		return Assignment{}, err
	}
	defer r.close(ctx, session)
	d := dialogue{session: session, polls: r.Polls, warn: r.Warn}
	if d.polls == nil {
		d.polls = &Polls{}
	}
	if err := d.open(ctx); err != nil {
		return Assignment{}, err
	}
	defer session.Detach()

	a, err := d.ask(ctx, payloads.RegisterTopic, body)
	operation := ""
	for err == nil && underWay(a) {
		operation = cmp.Or(a.OperationID, operation)
		if operation == "" {
			return Assignment{}, errors.New("DPS accepted the registration but named no operation to ask about")
		}
		if err = d.pause(ctx, a); err == nil {
			a, err = d.ask(ctx, func(rid string) string { return payloads.PollTopic(rid, operation) }, []byte(" "))
		}
	}
	if err != nil {
		return Assignment{}, err
	}
	return r.assignment(a)
}

// close ends the session in good manners even when ctx has ended, and waits for its goroutines a little.
func (r Request) close(ctx context.Context, s *transport.Session) {
	if r.Ended != nil && s.Cause() != nil {
		r.Ended(s)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	_ = s.Close(ctx)
}

// underWay tells whether a registration has been accepted and has not come to its end.
func underWay(a payloads.RegistrationAnswer) bool {
	switch a.State {
	case "assigning":
		return a.Status < 300
	case "assigned", "failed", "disabled", "unassigned":
		return false
	}
	return a.Status == 202
}

func (r Request) assignment(a payloads.RegistrationAnswer) (Assignment, error) {
	if a.Status >= 300 || a.State != "assigned" {
		return Assignment{}, fromAnswer(r.ProvisioningHost, a)
	}
	if a.AssignedHub == "" {
		return Assignment{}, errors.New("DPS assigned the device but named no hub")
	}
	id := cmp.Or(a.DeviceID, r.RegistrationID)
	assignment := Assignment{Hub: a.AssignedHub, DeviceID: id, Substatus: a.Substatus, Updated: a.Updated}
	if len(a.Payload) > MaxPayload {
		assignment.TooLarge = len(a.Payload)
	} else {
		assignment.Payload = string(a.Payload)
	}
	return assignment, nil
}

func (r Request) config() transport.Config {
	return transport.Config{
		Link:         r.Link,
		Host:         r.ProvisioningHost,
		ClientID:     r.RegistrationID,
		Username:     payloads.RegistrationUsername(r.IDScope, r.RegistrationID),
		CleanSession: true, // DPS keeps nothing of a session
		Password: func(now time.Time) (string, error) {
			key, err := r.Key()
			if err != nil {
				return "", err
			}
			return transport.SAS(r.IDScope+"/registrations/"+r.RegistrationID, "registration", key, now.Add(tokenLife)), nil
		},
	}
}

// A dialogue is one session with DPS, one request at a time.
type dialogue struct {
	session *transport.Session
	polls   *Polls
	warn    func(error) // may be nil
	pending atomic.Pointer[question]
}

// A question waits for the one answer that carries its ID.
type question struct {
	id     string
	answer chan answer // has room for it
}

type answer struct {
	payloads.RegistrationAnswer
	err error // it cannot be read
}

func (d *dialogue) open(ctx context.Context) error {
	inTime, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	d.session.Attach(d.hear)
	err := d.session.Subscribe(inTime, 1, payloads.RegistrationFilter)
	if inTime.Err() != nil {
		return silent(ctx)
	}
	return err
}

// hear drops what answers no question, or an old one.
func (d *dialogue) hear(m transport.Message) bool {
	m.Ack()
	a, err := payloads.ParseRegistrationAnswer(m.Topic, m.Payload)
	if q := d.pending.Load(); q != nil && a.RequestID == q.id && d.pending.CompareAndSwap(q, nil) {
		q.answer <- answer{a, err}
	}
	return true
}

// ask sends one request under a new request ID and waits for its answer.
func (d *dialogue) ask(ctx context.Context, topic func(requestID string) string, body []byte) (payloads.RegistrationAnswer, error) {
	var none payloads.RegistrationAnswer
	q := &question{id: rand.Text(), answer: make(chan answer, 1)}
	d.pending.Store(q)
	defer d.pending.Store(nil)
	inTime, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := d.session.Publish(inTime, topic(q.id), 1, body, func(error) {}); err != nil && inTime.Err() == nil {
		return none, err
	}
	select {
	case a := <-q.answer:
		if a.BadProperties != nil && d.warn != nil {
			d.warn(a.BadProperties)
		}
		return a.RegistrationAnswer, a.err
	case <-d.session.Ended():
		return none, d.session.Cause()
	case <-inTime.Done():
		return none, silent(ctx)
	}
}

// pause waits until DPS may be asked again. The delay starts when the answer has come, and a short one grows when DPS would
// take no more polls.
func (d *dialogue) pause(ctx context.Context, a payloads.RegistrationAnswer) error {
	delay := a.RetryAfter
	if delay <= 0 {
		delay = defaultPoll
	}
	t := time.NewTimer(d.polls.next(delay))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-d.session.Ended():
		return d.session.Cause()
	case <-ctx.Done():
		return silent(ctx)
	}
}

// silent is why no answer came in time: its own or the whole registration's.
func silent(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("the registration did not end within %s: %w", patience, transport.TimedOut)
	}
	return fmt.Errorf("DPS has not answered within %s: %w", answerTimeout, transport.TimedOut)
}
