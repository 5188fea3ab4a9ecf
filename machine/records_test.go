package machine

import (
	"errors"
	"testing"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

func lost(r transport.Reason) error { return &transport.Error{Reason: r, Host: "hub"} }

func TestTheCauseIsOneStableWord(t *testing.T) {
	for want, err := range map[string]error{
		"":              nil,
		"silence":       lost(transport.Silence),
		"dps-refused":   &provisioning.Error{Verdict: provisioning.Refused, Err: lost(transport.NotAuthorized)},
		"dps-throttled": &provisioning.Error{Verdict: provisioning.Throttled, Host: "dps"},
		"error":         errors.New("anything"),
	} {
		if got := causeOf(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}
