package hub

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

const (
	firstTwinRetry = time.Second      // wait before the first retry; the wait doubles each time
	lastTwinRetry  = 30 * time.Second // longest wait before a retry
	patchesLimit   = 64               // most patches that are kept until the twin has been read
	patchesBytes   = 1 << 20          // most bytes of them, far more than a twin has
)

// A twin keeps the device and its twin in step. On each session it reads the desired properties
// once and then applies their patches, and it sends the reported properties that are pending.
type twin struct {
	reported *reported
	desired  *desired
	follows  bool // desired properties are not switched off
	warn     func(message string, err error)
	outdated chan struct{} // has a value when the desired properties must be read again

	// The fields below belong to one session.
	session    Session
	subscribed bool // the session is subscribed to the hub's answers
	mu         sync.Mutex
	requests   map[string]chan payloads.TwinAnswer // channels for answers that have not come yet, by request ID
	version    int64                               // version of the desired properties; -1 means: read the twin
	patches    []payloads.Desired                  // patches to apply when the twin has been read
	patchBytes int                                 // total size of the bodies since patches was last empty
	missed     int                                 // count of patches not kept; the twin must be read again
	failed     error                               // error of a patch that was not applied, until follow returns it
}

// begin forgets the requests, the version and the patches of another session: versions can be
// compared within one session only.
func (t *twin) begin(s Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.session, t.subscribed = s, false
	t.requests = map[string]chan payloads.TwinAnswer{}
	t.version, t.patches, t.failed = -1, nil, nil
}

// run follows the desired properties and sends the reported ones until ctx or the session ends.
// Neither waits for the other, except that the desired properties are read first: pending
// acknowledgements then get this hub's version.
func (t *twin) run(ctx context.Context) {
	var both sync.WaitGroup
	read, tried := context.WithCancel(ctx) // read ends after the first attempt to read the twin
	defer tried()
	if t.follows {
		both.Go(func() {
			t.repeat(ctx, t.outdated, func(ctx context.Context) error {
				defer tried()
				return t.follow(ctx)
			})
		})
	} else {
		tried()
	}
	both.Go(func() {
		<-read.Done()
		t.repeat(ctx, t.reported.news, t.send)
	})
	both.Wait()
}

// repeat calls do at once and whenever there is news. If do fails, repeat calls it again, with
// growing waits.
func (t *twin) repeat(ctx context.Context, news <-chan struct{}, do func(context.Context) error) {
	retry := firstTwinRetry
	for ctx.Err() == nil {
		err := do(ctx)
		next, again := news, (<-chan time.Time)(nil)
		if err != nil {
			if t.session.Cause() != nil || ctx.Err() != nil {
				return // Work reports why the session ended
			}
			t.warn("a twin request failed; it will be tried again", err)
			next, again = nil, time.After(max(retry, retryAfter(err)))
			retry = min(2*retry, lastTwinRetry)
		} else {
			retry = firstTwinRetry
		}
		select {
		case <-again:
		case <-next:
		case <-t.session.Ended():
			return
		case <-ctx.Done():
		}
	}
}

// follow reads the twin if it must be read, and returns the error of a patch that could not be
// applied. It reads the twin at most once, so that it does not go on for ever if each answer is out
// of date at once.
func (t *twin) follow(ctx context.Context) error {
	for read := false; ; read = true {
		t.mu.Lock()
		failed, known := t.failed, t.version >= 0
		t.failed = nil
		t.mu.Unlock()
		switch {
		case failed != nil:
			return failed
		case known:
			return nil
		case read:
			return errors.New("hub: read the twin: it was out of date at once")
		}
		if err := t.read(ctx); err != nil {
			return err
		}
	}
}

func (t *twin) read(ctx context.Context) error {
	t.mu.Lock()
	missed := t.missed
	t.mu.Unlock()
	answer, err := t.request(ctx, payloads.TwinGetTopic, nil)
	if err != nil {
		return fmt.Errorf("hub: read the twin: %w", err)
	}
	whole, err := payloads.ParseTwin(answer.Body)
	if err != nil {
		return fmt.Errorf("hub: read the twin: %w", err)
	}
	if err := t.desired.applyTwin(whole.Desired, whole.AcknowledgedVersions()); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.missed != missed { // this twin may be older than the patch that was not kept
		return nil
	}
	t.version = whole.Desired.Version
	return t.applyPatches()
}

// applyPatches applies the patches that are pending, if the twin has been read. After a patch that
// was missed or cannot be applied the twin must be read again. The caller holds mu.
func (t *twin) applyPatches() error {
	for t.version >= 0 && len(t.patches) > 0 {
		patch := t.patches[0]
		t.patches = t.patches[1:]
		switch {
		case patch.Version <= t.version: // the twin that was read contains this patch already
		case patch.Version > t.version+1: // a patch before this one was missed
			t.version = -1
		default:
			t.version = patch.Version
			if err := t.desired.applyPatch(patch); err != nil {
				t.version = -1
				return err
			}
		}
	}
	return nil
}

// takePatch applies a patch of the desired properties, or keeps it until the twin has been read.
func (t *twin) takePatch(m transport.Message) error {
	patch, err := payloads.ParseDesired(m.Topic, m.Payload)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.patches) == 0 {
		t.patchBytes = 0
	}
	t.patchBytes += len(m.Payload)
	if err != nil || len(t.patches) >= patchesLimit || t.patchBytes > patchesBytes {
		t.missed++
		t.patches, t.version = nil, -1 // the whole twin, read next, contains the patches
	} else {
		t.patches = append(t.patches, patch)
		if failed := t.applyPatches(); failed != nil {
			t.failed = failed
		}
	}
	if t.version < 0 {
		signal(t.outdated)
	}
	return err
}

// flush sends the pending reported properties, and returns when the hub has confirmed them. It
// subscribes to the hub's answers if the session has not subscribed yet.
func (t *twin) flush(ctx context.Context) error {
	if !t.reported.hasPending() {
		return nil
	}
	if !t.subscribed {
		if err := t.session.Subscribe(ctx, 1, payloads.TwinAnswerFilter); err != nil {
			return fmt.Errorf("hub: send reported properties: %w", err)
		}
	}
	return t.send(ctx)
}

// request sends one request and waits for its answer.
func (t *twin) request(
	ctx context.Context, topic func(requestID string) string, body []byte,
) (payloads.TwinAnswer, error) {
	id := rand.Text()
	answer := make(chan payloads.TwinAnswer, 1)
	t.mu.Lock()
	t.requests[id] = answer
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.requests, id)
		t.mu.Unlock()
	}()
	ctx, cancel := withAnswerTimeout(ctx, t.session)
	defer cancel()
	if err := t.session.Publish(ctx, topic(id), 0, body, func(error) {}); err != nil {
		return payloads.TwinAnswer{}, err
	}
	select {
	case a := <-answer:
		if a.Status >= 300 {
			return a, &twinError{a}
		}
		return a, nil
	case <-t.session.Ended():
		return payloads.TwinAnswer{}, t.session.Cause()
	case <-ctx.Done():
		return payloads.TwinAnswer{}, context.Cause(ctx)
	}
}

// takeAnswer gives an answer to the request that waits for it.
func (t *twin) takeAnswer(m transport.Message) error {
	a, err := payloads.ParseTwinAnswer(m.Topic, m.Payload)
	if err != nil {
		return err
	}
	t.mu.Lock()
	answer := t.requests[a.RequestID]
	delete(t.requests, a.RequestID) // a second answer is ignored
	t.mu.Unlock()
	if answer != nil {
		answer <- a
	}
	return a.BadProperties
}

// send sends what is pending for the reported section, until nothing is pending.
func (t *twin) send(ctx context.Context) error {
	for {
		patches := t.reported.take().patches()
		if len(patches) == 0 {
			return nil
		}
		for _, patch := range patches {
			if err := t.sendPatch(ctx, patch); err != nil {
				t.reported.giveBack() // all patches: sending again what the hub has does no harm
				return fmt.Errorf("hub: send reported properties: %w", err)
			}
		}
		t.reported.confirmed()
	}
}

// sendPatch sends a patch. If the hub refuses the content, sendPatch drops only the properties at
// fault, which would otherwise block the rest for ever.
func (t *twin) sendPatch(ctx context.Context, patch map[string]any) error {
	err := payloads.CheckReported(patch) // reports and acknowledgements fit each alone; together they may be too large
	if err == nil {
		body, _ := json.Marshal(patch) // cannot fail: CheckReported has marshalled the patch before
		if _, err = t.request(ctx, payloads.ReportTopic, body); err == nil || !isFinal(err) {
			return err
		}
	}
	parts := payloads.SplitPatch(patch, err)
	if len(parts) == 0 {
		t.warn("the hub refused a reported property; it was dropped",
			fmt.Errorf("hub: report %.200q: %w", payloads.FirstProperty(patch), err))
	}
	for _, part := range parts {
		if err := t.sendPatch(ctx, part); err != nil {
			return err
		}
	}
	return nil
}
