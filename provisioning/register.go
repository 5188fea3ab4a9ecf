// Package provisioning asks the Device Provisioning Service (DPS) which hub the device belongs to, and
// stores the answer.
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
	// defaultPollDelay is used when DPS names no delay, as in Microsoft's SDKs.
	defaultPollDelay = 2 * time.Second
	// DPS accepts pollLimit polls of one device in 10 s, whatever its retry-after says. DPS counts
	// polls when they arrive, and a later poll may travel faster than an earlier one: hence 11 s.
	// https://learn.microsoft.com/azure/iot-dps/about-iot-dps#quotas-and-limits
	pollLimit  = 5
	pollWindow = 11 * time.Second
	// answerTimeout bounds the wait for one answer, or Link.AnswerTimeout if that is longer. DPS does not promise an
	// answer.
	answerTimeout = 10 * time.Second
	// registerTimeout bounds the whole registration with all delays that DPS asks for.
	registerTimeout = 2 * time.Minute
	// closeTimeout bounds the closing of the session.
	closeTimeout = 3 * time.Second
	// tokenLife is how long a token is valid. It is far longer than a registration takes.
	tokenLife = time.Hour
)

var errTooLong = fmt.Errorf("the registration did not end within %s: %w", registerTimeout, transport.TimedOut)

// A Request is one registration: who asks, and how.
type Request struct {
	Identity
	Payload any            // sent with the registration; nil means the model of Identity, if it has one
	Polls   *Polls         // shared by all registrations of one device; nil means that this is the only one
	Link    transport.Link // how to reach DPS

	// Ended is called with a session that ended before Register closed it. It must return at once, and
	// its owner must wait for the Done of the session later. Nil means that Register waits.
	Ended func(*transport.Session)
	// Warn is called with an error that names the parts of an answer that could not be read, although
	// the rest is used. Nil means that such errors are ignored.
	Warn func(error)
}

// Polls remembers when DPS was polled, over all registrations of one device, because DPS counts polls
// by device. The zero value is ready. Registrations that share it must not run at the same time.
type Polls struct{ latest []time.Time }

// next returns how long to wait before the next poll: delay, or longer if DPS would not accept the poll
// then.
func (p *Polls) next(delay time.Duration) time.Duration {
	if len(p.latest) == pollLimit {
		delay = max(delay, time.Until(p.latest[0].Add(pollWindow)))
		p.latest = p.latest[1:]
	}
	p.latest = append(p.latest, time.Now().Add(delay))
	return delay
}

// MaxPayload is the size in bytes of the largest payload that is kept with an assignment. It is DPS's
// own limit for a message. azure-docs includes/iot-dps-limits.md
const MaxPayload = 96 << 10

// An Assignment is DPS's answer: the hub and the device ID there.
type Assignment struct {
	Hub       string // host name that DPS gave, with its port if it has one
	DeviceID  string // device ID at the hub; may differ from the registration ID
	Substatus string // such as initialAssignment or deviceDataMigrated; may be empty
	// Payload is the JSON of a custom allocation, byte for byte. Empty means that there is none. It may
	// be secret: it must not be printed.
	Payload string
	// Updated is the time of the latest change of the registration, and so a past time by DPS's
	// clock. Zero means that DPS named none. It is not stored.
	Updated time.Time
	// TooLarge is the size in bytes of a payload that was left out because it exceeds MaxPayload. Zero
	// means that no payload was left out.
	TooLarge int
}

// Register asks DPS which hub the device belongs to, and waits as long as DPS asks for between
// polls. After two minutes it returns an error with the verdict Unavailable. Its errors are *Error,
// or the error of ctx.
func Register(ctx context.Context, r Request) (Assignment, error) {
	r.Identity = r.WithDefaults()
	if r.Payload == nil {
		r.Payload = r.payload()
	}
	bounded, cancel := context.WithTimeoutCause(ctx, registerTimeout, errTooLong)
	defer cancel()
	a, err := r.register(bounded)
	if err == nil {
		return a, nil
	}
	if ctx.Err() != nil {
		return Assignment{}, ctx.Err()
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = fromTransport(r.ProvisioningHost, err)
	}
	return Assignment{}, e
}

func (r Request) register(ctx context.Context) (none Assignment, _ error) {
	body, err := payloads.RegisterBody(r.RegistrationID, r.Payload)
	if err != nil {
		return none, &Error{Verdict: Refused, Host: r.ProvisioningHost, Advice: adviceRequest, Err: err}
	}
	session, err := transport.Connect(ctx, r.config())
	if err != nil {
		return none, err
	}
	defer r.close(ctx, session)
	defer session.Detach()
	x := exchange{session: session, polls: cmp.Or(r.Polls, &Polls{}), warn: r.Warn,
		timeout: max(answerTimeout, r.Link.AnswerTimeout)}
	if err := x.subscribe(ctx); err != nil {
		return none, err
	}
	answer, err := x.request(ctx, payloads.RegisterTopic, body)
	operation := ""
	for err == nil && isPending(answer) {
		operation = cmp.Or(answer.OperationID, operation)
		if operation == "" {
			return none, errors.New("DPS accepted the registration but named no operation to poll")
		}
		if err = x.wait(ctx, answer.RetryAfter); err == nil {
			poll := func(requestID string) string { return payloads.PollTopic(requestID, operation) }
			answer, err = x.request(ctx, poll, []byte(" "))
		}
	}
	if err != nil {
		return none, err
	}
	return r.assignment(answer)
}

// close closes the session, even when ctx has ended, and waits up to closeTimeout for its
// goroutines. If the session has ended already and Ended is set, close calls Ended instead.
func (r Request) close(ctx context.Context, s *transport.Session) {
	if r.Ended != nil && s.Cause() != nil {
		r.Ended(s)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = s.Close(ctx)
}

// isPending reports whether DPS has accepted a registration and not decided it yet.
func isPending(a payloads.RegistrationAnswer) bool {
	switch a.State {
	case "assigning":
		return a.Status < 300
	case "assigned", "failed", "disabled", "unassigned":
		return false
	}
	return a.Status == 202
}

func (r Request) assignment(answer payloads.RegistrationAnswer) (Assignment, error) {
	if answer.Status >= 300 || answer.State != "assigned" {
		return Assignment{}, fromAnswer(r.ProvisioningHost, answer)
	}
	if answer.AssignedHub == "" {
		return Assignment{}, errors.New("DPS assigned the device but named no hub")
	}
	a := Assignment{
		Hub: answer.AssignedHub, DeviceID: cmp.Or(answer.DeviceID, r.RegistrationID), Substatus: answer.Substatus,
		Payload: string(answer.Payload), Updated: answer.Updated,
	}
	if len(a.Payload) > MaxPayload {
		a.Payload, a.TooLarge = "", len(a.Payload)
	}
	return a, nil
}

func (r Request) config() transport.Config {
	return transport.Config{
		Link: r.Link, Host: r.ProvisioningHost, ClientID: r.RegistrationID,
		Username:     payloads.RegistrationUsername(r.IDScope, r.RegistrationID),
		CleanSession: true, // DPS keeps no sessions
		Password: func(now time.Time) (string, error) {
			key, err := r.Key()
			if err != nil {
				return "", err
			}
			return transport.SAS(r.IDScope+"/registrations/"+r.RegistrationID, "registration", key,
				now.Add(tokenLife)), nil
		},
	}
}

// An exchange is one session with DPS, with one request at a time.
type exchange struct {
	session *transport.Session
	polls   *Polls
	warn    func(error)   // may be nil
	timeout time.Duration // of each answer
	current atomic.Pointer[request]
}

// A request waits for the answer that carries its ID.
type request struct {
	id     string
	answer chan answer // buffered for one answer
}

type answer struct {
	payloads.RegistrationAnswer
	err error // why the answer cannot be read
}

// inTime returns a context that ends when an answer takes too long.
func (x *exchange) inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, x.timeout,
		fmt.Errorf("DPS has not answered within %s: %w", x.timeout, transport.TimedOut))
}

func (x *exchange) subscribe(ctx context.Context) error {
	inTime, cancel := x.inTime(ctx)
	defer cancel()
	x.session.Attach(x.receive)
	err := x.session.Subscribe(inTime, 1, payloads.RegistrationFilter)
	if inTime.Err() != nil {
		return context.Cause(inTime)
	}
	return err
}

// receive drops answers to other requests than the current one.
func (x *exchange) receive(m transport.Message) bool {
	m.Ack()
	a, err := payloads.ParseRegistrationAnswer(m.Topic, m.Payload)
	if r := x.current.Load(); r != nil && a.RequestID == r.id && x.current.CompareAndSwap(r, nil) {
		r.answer <- answer{a, err}
	}
	return true
}

// request sends one request with a new ID and waits for its answer.
func (x *exchange) request(ctx context.Context, topic func(id string) string, body []byte) (
	none payloads.RegistrationAnswer, _ error,
) {
	r := &request{id: rand.Text(), answer: make(chan answer, 1)}
	x.current.Store(r)
	defer x.current.Store(nil)
	inTime, cancel := x.inTime(ctx)
	defer cancel()
	if err := x.session.Publish(inTime, topic(r.id), 1, body, func(error) {}); err != nil && inTime.Err() == nil {
		return none, err
	}
	select {
	case a := <-r.answer:
		if a.BadProperties != nil && x.warn != nil {
			x.warn(a.BadProperties)
		}
		return a.RegistrationAnswer, a.err
	case <-x.session.Ended():
		return none, x.session.Cause()
	case <-inTime.Done():
		return none, context.Cause(inTime)
	}
}

// wait waits before a poll, for the delay that DPS asked for or longer.
func (x *exchange) wait(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		delay = defaultPollDelay
	}
	select {
	case <-time.After(x.polls.next(delay)):
		return nil
	case <-x.session.Ended():
		return x.session.Cause()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
