package hub

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"giantlizard.example/failover/payloads"
)

// A twinError is the hub's answer to a twin request, if its status is that of an error.
type twinError struct{ payloads.TwinAnswer }

func (e *twinError) Error() string {
	return fmt.Sprintf("status %d, error code %d: %q (tracking ID %s)", e.Status, e.Code, e.Message, e.TrackingID)
}

// isFinal reports whether the hub refused the content of a request. Other errors depend on the
// moment or the device, so that a retry may succeed.
func isFinal(err error) bool {
	e, ok := errors.AsType[*twinError](err)
	return ok && e.Status >= 400 && e.Status < 500 && !slices.Contains([]int{401, 403, 404, 408, 429}, e.Status)
}

// retryAfter returns the wait that an answer in err asks for. Zero means that no answer asks for a
// wait.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*twinError](err); ok {
		return e.RetryAfter
	}
	return 0
}
