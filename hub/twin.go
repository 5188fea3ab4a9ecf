package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

const (
	firstTwinRetry = time.Second
	lastTwinRetry  = 30 * time.Second
)

// A twin keeps the device's twin in step: on each session it reads the desired properties once and then follows their
// patches, and it sends the reported ones that wait.
type twin struct {
	hub     *Hub
	reports *reports
	desired *desired
	wake    chan struct{}
	audible bool // on this session the hub's answers are subscribed to

	mu      sync.Mutex
	asked   map[string]chan payloads.TwinAnswer // by request ID
	patches []payloads.Desired                  // heard and not yet applied
	missed  int                                 // how often patches were given up for a whole twin
	version int64                               // of the desired properties on this session; -1: not read yet
}

func newTwin(h *Hub) *twin {
	t := &twin{hub: h, reports: newReports(), wake: make(chan struct{}, 1), asked: map[string]chan payloads.TwinAnswer{}}
	k := t.reports.kept
	k.file, k.frozen, k.delay, k.warn = h.TwinFile, h.InMemory, max(0, h.SyncEvery), func(err error) { h.warn("", err) }
	t.desired = newDesired(h, t.reports)
	return t
}

// restart forgets what belonged to another session: versions compare within one only.
func (t *twin) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.patches, t.version, t.audible = nil, -1, false
	clear(t.asked)
}

// run works until ctx or the session ends. What the device is to be and what it has become are two things: neither waits for the
// other, and a twin that a hub does not give must not cost the telemetry.
func (t *twin) run(ctx context.Context, s Session) {
	var both sync.WaitGroup
	read := make(chan struct{}) // or tried: answers that wait get this hub's version first
	tried := sync.OnceFunc(func() { close(read) })
	if t.hub.Off.Has(Desired) {
		tried()
	} else {
		both.Go(func() {
			defer tried()
			t.keep(ctx, s, t.wake, func(ctx context.Context, s Session) error {
				defer tried()
				return t.follow(ctx, s)
			})
		})
	}
	if t.hub.usesTwin() {
		both.Go(func() {
			<-read
			t.keep(ctx, s, t.reports.changed, t.send)
		})
	}
	both.Wait()
}

// keep does something at once and whenever there is news. What fails is tried again, ever more slowly.
func (t *twin) keep(
	ctx context.Context, s Session, news chan struct{}, do func(context.Context, Session) error,
) {
	retry := firstTwinRetry
	for ctx.Err() == nil {
		err := do(ctx, s)
		var again <-chan time.Time
		if err != nil {
			if s.Cause() != nil || ctx.Err() != nil {
				return // the session's end speaks for itself
			}
			t.hub.warn("a twin request failed; it will be tried again", err)
			again = time.After(max(retry, retryAfter(err)))
			retry = min(2*retry, lastTwinRetry)
		} else {
			retry = firstTwinRetry
		}
		select {
		case <-again:
		case <-onlyIf(err == nil, news):
		case <-s.Ended():
			return
		case <-ctx.Done():
		}
	}
}

// onlyIf is c, or a channel that never speaks.
func onlyIf(ok bool, c chan struct{}) chan struct{} {
	if ok {
		return c
	}
	return nil
}

// follow reads the twin if need be and applies the patches that came. It reads once at most: a hub that makes what it says
// useless at once would have no end of it.
func (t *twin) follow(ctx context.Context, s Session) error {
	for read := false; ; {
		t.mu.Lock()
		version := t.version
		var patch *payloads.Desired
		if version >= 0 && len(t.patches) > 0 {
			patch, t.patches = &t.patches[0], t.patches[1:]
		}
		t.mu.Unlock()
		switch {
		case version < 0 && read:
			return errors.New("hub: read the twin: it was out of date at once")
		case version < 0:
			if err := t.read(ctx, s); err != nil {
				return err
			}
			read = true
		case patch == nil:
			return nil
		case patch.Version <= version: // the twin that was read had it already
		case patch.Version > version+1: // one was missed
			t.setVersion(-1)
		default:
			t.setVersion(patch.Version)
			if err := t.desired.change(*patch); err != nil {
				t.setVersion(-1) // the whole twin says what is wished no more
				return err
			}
		}
	}
}

func (t *twin) setVersion(v int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.version = v
}

func (t *twin) read(ctx context.Context, s Session) error {
	t.mu.Lock()
	missed := t.missed
	t.mu.Unlock()
	a, err := t.ask(ctx, s, payloads.TwinGetTopic, nil)
	if err != nil {
		return fmt.Errorf("hub: read the twin: %w", err)
	}
	read, err := payloads.ParseTwin(a.Body)
	if err != nil {
		return fmt.Errorf("hub: read the twin: %w", err)
	}
	if err := t.desired.reconcile(read.Desired, read.AcknowledgedVersions()); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.missed == missed { // else this twin may be older than what was given up
		t.version = read.Desired.Version
	}
	return nil
}

// flush sends what waits and returns when the hub has confirmed it. The device may have been told to end before it had subscribed.
func (t *twin) flush(ctx context.Context, s Session) error {
	if !t.hub.usesTwin() || !t.reports.wait() {
		return nil
	}
	if !t.audible {
		if err := s.Subscribe(ctx, 1, payloads.TwinAnswerFilter); err != nil {
			return fmt.Errorf("hub: report: %w", err)
		}
	}
	return t.send(ctx, s)
}

// ask sends one request and waits for its answer. Twin requests travel at QoS 0, so each has its own time-out.
func (t *twin) ask(ctx context.Context, s Session, topic func(requestID string) string, body []byte) (payloads.TwinAnswer, error) {
	id := rand.Text()
	answer := make(chan payloads.TwinAnswer, 1)
	t.mu.Lock()
	t.asked[id] = answer
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.asked, id)
		t.mu.Unlock()
	}()
	ctx, cancel := bounded(ctx, s)
	defer cancel()
	if err := s.Publish(ctx, topic(id), 0, body, func(error) {}); err != nil {
		return payloads.TwinAnswer{}, err
	}
	select {
	case a := <-answer:
		if a.Status >= 300 {
			return a, &twinError{a}
		}
		return a, nil
	case <-s.Ended():
		return payloads.TwinAnswer{}, s.Cause()
	case <-ctx.Done():
		return payloads.TwinAnswer{}, timedOut(ctx, ctx.Err())
	}
}

func (t *twin) heardAnswer(m transport.Message) error {
	a, err := payloads.ParseTwinAnswer(m.Topic, m.Payload)
	if err != nil {
		return err
	}
	t.mu.Lock()
	waiting := t.asked[a.RequestID]
	delete(t.asked, a.RequestID) // a second answer finds nobody
	t.mu.Unlock()
	if waiting != nil {
		waiting <- a
	}
	return a.BadProperties
}

func (t *twin) heardPatch(m transport.Message) error {
	d, err := payloads.ParseDesired(m.Topic, m.Payload)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil || len(t.patches) >= poolLimit {
		t.missed++
		t.patches, t.version = nil, -1 // whatever it said, the whole twin says it too
	} else {
		t.patches = append(t.patches, d)
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return err
}
