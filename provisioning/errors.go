package provisioning

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// A Verdict is what an error of DPS means for the device.
type Verdict string

// The verdicts.
const (
	// Unavailable means that DPS was not reached, did not answer, or answered 5xx, 409 or 412. Retry
	// with back-off.
	Unavailable Verdict = "dps-unavailable"
	// Throttled means that DPS answered 429. Retry after RetryAfter, or with back-off.
	Throttled Verdict = "dps-throttled"
	// Refused means that DPS refuses the device until an operator changes something. Retry slowly.
	Refused Verdict = "dps-refused"
)

func (v Verdict) Error() string { return string(v) }

// An Error says why DPS has not assigned a hub.
type Error struct {
	Verdict    Verdict
	Host       string
	Status     int           // status of the answer, as in HTTP; zero means that there was no answer
	Code       int           // error code of the answer, such as 401002; zero means that it had none
	TrackingID string        // ID of the request, for which Azure's support asks
	RetryAfter time.Duration // delay that DPS asked for; zero means none
	Message    string        // DPS's own words
	Stamped    time.Time     // time of the answer by DPS's clock; zero means that DPS did not say
	Updated    time.Time     // past time by DPS's clock: the registration's latest change; zero means none was named
	Advice     string        // next step for an operator; empty means that there is nothing to do but wait
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
	adviceCredentials = "check the ID scope, the registration ID and the key " +
		"(a derived key fits only one spelling of the ID), " +
		"that the enrollment is enabled, and that this machine's clock is right"
	adviceDisabled = "enable the enrollment, or approve the device"
	adviceMissing  = "check the ID scope, and that an enrollment or an enrollment group covers this registration ID"
	adviceFailed   = "look up the error code; DPS tries again when this device asks again"
	adviceRequest  = "check the payload (the model ID) that this device sends with its registration"
)

// fromTransport returns the Error of a session with DPS that failed. DPS refuses a token in CONNACK.
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

// fromAnswer returns the Error of an answer that assigns no hub.
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
		e.Advice, e.Err = adviceFailed, errors.New("the registration has failed")
	case a.State == "unassigned":
		e.Advice, e.Err = adviceMissing, errors.New("no hub is assigned")
	default:
		e.Verdict, e.Err = Unavailable, fmt.Errorf("the answer assigns nothing: its state is %.60q", a.State)
	}
	return e
}
