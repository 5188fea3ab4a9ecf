package provisioning

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// A Verdict is what an error from DPS means for a device.
type Verdict string

// The verdicts.
const (
	Unavailable Verdict = "dps-unavailable" // not reached, not answered, 5xx, or a conflict that passes: try again with back-off
	Throttled   Verdict = "dps-throttled"   // 429: try again after RetryAfter, or with a growing delay
	Refused     Verdict = "dps-refused"     // DPS said no; only an operator can change that, so try again slowly
)

func (v Verdict) Error() string { return string(v) }

// An Error is why DPS has not assigned a hub.
type Error struct {
	Verdict    Verdict
	Host       string
	Status     int           // of the answer, like HTTP's; 0 when there was none
	Code       int           // errorCode, such as 401002; 0 when there was none
	TrackingID string        // what Azure's support asks for
	RetryAfter time.Duration // what DPS asked for; 0 when it asked for nothing
	Message    string        // DPS's own words
	Stamped    time.Time     // DPS's clock when it answered; zero when it did not say
	Updated    time.Time     // a time at which DPS's clock has been; zero when it named none
	Advice     string        // what an operator does next; "" when waiting is all there is to do
	Err        error         // the underlying error, may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "provisioning: %s: %s", e.Host, e.Verdict)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": status %d", e.Status)
	}
	if e.Code != 0 {
		fmt.Fprintf(&b, ", error code %d", e.Code)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %.300q", e.Message)
	}
	if e.TrackingID != "" {
		fmt.Fprintf(&b, " (tracking ID %.100q)", e.TrackingID)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Advice != "" {
		fmt.Fprintf(&b, "; %s", e.Advice)
	}
	return b.String()
}

// Unwrap lets errors.Is and errors.As see the verdict and the underlying error.
func (e *Error) Unwrap() []error { return []error{e.Verdict, e.Err} }

const (
	adviceCredentials = "check the ID scope, the registration ID and the key (one that was derived fits one spelling of the ID), " +
		"that the enrollment is enabled, and that this machine's clock is right"
	adviceDisabled = "enable the enrollment, or approve the device"
	adviceMissing  = "check the ID scope, and that an enrollment or an enrollment group covers this registration ID"
	adviceRequest  = "check the payload (the model ID) that this device sends with its registration"
)

// fromTransport turns the failure of a session with DPS into an Error. DPS says no to a token in CONNACK.
func fromTransport(host string, err error) *Error {
	e := &Error{Verdict: Unavailable, Host: host, Err: err}
	switch reason := transport.ReasonOf(err); reason {
	case transport.BadCredentials, transport.NotAuthorized:
		e.Verdict, e.Advice = Refused, adviceCredentials
	case transport.KeyUnusable:
		e.Verdict = Refused
	case transport.TLSFailed:
		e.Advice = "check the CA file, the host name and this machine's clock"
	case transport.NameNotFound:
		e.Advice = "check the host name and this machine's DNS"
	}
	return e
}

// fromAnswer turns an answer that assigns no hub into an Error.
func fromAnswer(host string, a payloads.RegistrationAnswer) *Error {
	e := &Error{
		Verdict: Refused, Host: host, Status: a.Status, Code: a.Code, TrackingID: a.TrackingID,
		RetryAfter: a.RetryAfter, Message: a.Message, Stamped: a.Stamped, Updated: a.Updated,
	}
	switch {
	case a.Status == 429:
		e.Verdict = Throttled
	case a.Status >= 500, a.Status == 409, a.Status == 412:
		e.Verdict = Unavailable
	case a.Status == 401:
		e.Advice = adviceCredentials
	case a.Status == 403:
		e.Advice = adviceDisabled
	case a.Status == 404:
		e.Advice = adviceMissing
	case a.Status >= 300:
		e.Advice = adviceRequest
	case a.State == "disabled":
		e.Advice, e.Err = adviceDisabled, errors.New("the registration is disabled")
	case a.State == "failed":
		e.Advice, e.Err = "look the error code up; DPS will try again when this device asks again", errors.New("the registration has failed")
	case a.State == "unassigned":
		e.Advice, e.Err = adviceMissing, errors.New("no hub is assigned")
	default:
		e.Verdict, e.Err = Unavailable, fmt.Errorf("an answer that assigns nothing, in state %.60q", a.State)
	}
	return e
}
