package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"giantlizard.example/failover/payloads"
)

// send sends the reported properties that wait.
func (t *twin) send(ctx context.Context, s Session) error {
	for {
		b := t.reports.take()
		patches := b.patches()
		if len(patches) == 0 {
			return nil
		}
		for _, patch := range patches {
			if err := t.offer(ctx, s, patch); err != nil {
				t.reports.giveBack() // all of it: what is there already does no harm
				return fmt.Errorf("hub: report: %w", err)
			}
		}
		t.reports.confirmed()
	}
}

// offer sends a patch. What the hub finds wrong in it is given up, or it would block the rest for ever.
func (t *twin) offer(ctx context.Context, s Session, patch map[string]any) error {
	err := payloads.CheckReported(patch) // each report and each answer has passed; all at once may be too much
	if err == nil {
		if err = t.report(ctx, s, patch); err == nil || !isFinal(err) {
			return err
		}
	}
	parts := payloads.SplitPatch(patch, err)
	if len(parts) == 0 {
		t.hub.warn("the hub refused a reported property; it was given up", fmt.Errorf("hub: report %.200q: %w", payloads.FirstProperty(patch), err))
	}
	for _, part := range parts {
		if err := t.offer(ctx, s, part); err != nil {
			return err
		}
	}
	return nil
}

func (t *twin) report(ctx context.Context, s Session, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err == nil {
		_, err = t.ask(ctx, s, payloads.ReportTopic, body)
	}
	return err
}

// A twinError is an answer that says no.
type twinError struct{ payloads.TwinAnswer }

func (e *twinError) Error() string {
	return fmt.Sprintf("status %d, error code %d: %q (tracking ID %s)", e.Status, e.Code, e.Message, e.TrackingID)
}

// isFinal tells whether the hub finds the content wrong. The other refusals are about the moment or the device, and pass.
func isFinal(err error) bool {
	var e *twinError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case 401, 403, 404, 408, 429:
		return false
	}
	return e.Status >= 400 && e.Status < 500
}

// retryAfter is the longest wait that an answer in err asks for.
func retryAfter(err error) (longest time.Duration) {
	switch e := err.(type) {
	case *twinError:
		return e.RetryAfter
	case interface{ Unwrap() error }:
		return retryAfter(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			longest = max(longest, retryAfter(err))
		}
	}
	return longest
}
