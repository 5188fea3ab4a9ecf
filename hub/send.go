package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"giantlizard.example/failover/payloads"
)

// send sends what is pending for the reported section.
func (t *twin) send(ctx context.Context) error {
	for {
		patches := t.reported.take().patches()
		if len(patches) == 0 {
			return nil
		}
		for _, patch := range patches {
			if err := t.sendPatch(ctx, patch); err != nil {
				t.reported.giveBack() // all of it: to send again what the hub has does no harm
				return fmt.Errorf("hub: report: %w", err)
			}
		}
		t.reported.confirmed()
	}
}

// sendPatch sends a patch. If the hub refuses the content, sendPatch drops only what is wrong,
// which would block the rest for ever.
func (t *twin) sendPatch(ctx context.Context, patch map[string]any) error {
	err := payloads.CheckReported(patch) // each report and each acknowledgement fits; all of them may be too large
	if err == nil {
		body, _ := json.Marshal(patch) // which CheckReported has done
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

// A twinError is an answer with the status of an error.
type twinError struct{ payloads.TwinAnswer }

func (e *twinError) Error() string {
	return fmt.Sprintf("status %d, error code %d: %q (tracking ID %s)", e.Status, e.Code, e.Message, e.TrackingID)
}

// isFinal reports whether the hub refused the content. The other statuses are about the moment or
// the device, and pass.
func isFinal(err error) bool {
	e, ok := errors.AsType[*twinError](err)
	return ok && e.Status >= 400 && e.Status < 500 && !slices.Contains([]int{401, 403, 404, 408, 429}, e.Status)
}

// retryAfter returns the wait that an answer in err asks for. Zero means none.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*twinError](err); ok {
		return e.RetryAfter
	}
	return 0
}
