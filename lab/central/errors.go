package central

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// An Error describes why a request failed, and what the user can do.
type Error struct {
	Host       string
	Status     int           // status of the answer; zero means that there was no answer
	Code       string        // IoT Central's error code, such as NotFound
	What       string        // description of the failure
	Next       string        // advice for the user; may be empty
	RetryAfter time.Duration // wait that the answer asks for; zero means that it asks for none
	Err        error         // reason why there was no answer; may be nil
}

func (e *Error) Error() string {
	text := "central: " + e.Host + " " + e.What
	if e.Next != "" {
		text += ": " + e.Next
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// An errorAnswer is the body of an answer with an error. IoT Central sends the member Error. DPS and
// gateways send the other members.
type errorAnswer struct {
	Error     json.RawMessage `json:"error"`
	Message   string          `json:"message"`
	ErrorCode json.Number     `json:"errorCode"`
}

// details are the members of Error in an answer of IoT Central.
type details struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	RequestID string `json:"requestId"`
}

// answerError returns the error that an answer reports, or nil if the request succeeded.
func (c *Client) answerError(answer *http.Response, text []byte) error {
	ok := answer.StatusCode >= 200 && answer.StatusCode < 300
	switch {
	case len(text) > answerLimit:
		return c.newError(answer, "", fmt.Sprintf("more than %d bytes", answerLimit),
			"check the address, and whether a proxy answers instead")
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return c.redirectError(answer)
	case len(text) == 0 && ok:
		return nil
	case !json.Valid(text) && len(text) > 0:
		return c.notJSONError(answer)
	}
	var said errorAnswer
	var d details
	_ = json.Unmarshal(text, &said) // an error means that the body is not as IoT Central describes it
	if json.Unmarshal(said.Error, &d) != nil {
		_ = json.Unmarshal(said.Error, &d.Message)
	}
	if ok && (d.Code == "" || d.Message == "") { // a successful answer may have a property named error
		return nil
	}
	if d.Message == "" {
		d.Code, d.Message = said.ErrorCode.String(), said.Message
	}
	e := c.newError(answer, d.Code, d.Message, "")
	e.RetryAfter = retryAfter(answer.Header.Get("Retry-After"))
	e.Next = c.nextStep(e, d.RequestID)
	return e
}

func (c *Client) newError(answer *http.Response, code, said, next string) *Error {
	code, said = c.token.shown(code), c.token.shown(said)
	what := strings.TrimSpace(fmt.Sprintf("answered %d %s", answer.StatusCode, code))
	if said != "" {
		what += " (" + said + ")"
	}
	return &Error{Host: c.host(), Status: answer.StatusCode, Code: code, What: what, Next: next}
}

// notJSONError returns the error for an answer that is not JSON, such as the page of a proxy. It
// does not quote the answer, which may repeat the request.
func (c *Client) notJSONError(answer *http.Response) error {
	kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	if kind == "" {
		kind = "something"
	}
	return c.newError(answer, "", kind+" that is not IoT Central's",
		"check the ID of the application, the DNS suffix, and whether a proxy answers instead")
}

func (c *Client) redirectError(answer *http.Response) error {
	where := "an invalid address"
	if to, err := answer.Location(); err == nil { // show only the host, because the rest may contain secrets
		where = to.Scheme + "://" + to.Host
	}
	return c.newError(answer, "", "a redirect to "+where,
		"redirects are not followed, to protect the token; if this is the application, give its address")
}

// nextStep returns what the user can do about an error.
func (c *Client) nextStep(e *Error, requestID string) string {
	switch s := e.Status; {
	case s == http.StatusUnauthorized && c.emulator != "":
		return "the emulator was restarted meanwhile; try again"
	case c.emulator != "" && e.Code != "":
		return "" // the message of the emulator says what to do
	case s == http.StatusUnauthorized:
		return "the token has expired, was revoked or is for another application; " +
			"make one in IoT Central, Permissions, API tokens"
	case s == http.StatusForbidden:
		return "the role of the token does not allow this; use a token whose role may manage devices"
	case s == http.StatusNotFound:
		return "check the ID of the device and that of the application"
	case s == http.StatusConflict, s == http.StatusPreconditionFailed:
		return "it does not fit what the device is doing now; look at the device, and try again when that is over"
	case s == http.StatusTooManyRequests && e.RetryAfter > 0:
		return fmt.Sprintf("too many requests; try again in %s", e.RetryAfter)
	case s == http.StatusTooManyRequests:
		return "too many requests; try again in a minute"
	case s >= 500 && requestID != "":
		return "try again later; support will ask for the request " + c.token.shown(requestID)
	case s >= 500:
		return "try again later"
	case e.Code == "":
		return "check the address, the device and what was asked"
	}
	return "" // the message of the application describes the error
}

// retryAfter parses a Retry-After header, in seconds or as a date.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil { // 32 bits, so that time.Duration does not overflow
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at).Round(time.Second))
	}
	return 0
}

// noAnswerError returns the error for a request without an answer.
func (c *Client) noAnswerError(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("central: %s: %w", c.host(), ctx.Err())
	}
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err // the other fields repeat the address
	}
	e := &Error{
		Host: c.host(), Err: err, What: "cannot be reached (" + c.token.shown(err.Error()) + ")",
		Next: "check the address, the network and HTTPS_PROXY",
	}
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var timed net.Error
	var step *net.OpError
	switch {
	case errors.As(err, &step) && step.Op == "proxyconnect": // the address of the proxy may contain a password
		e.What, e.Next = "cannot be reached through the proxy", "check HTTPS_PROXY"
	case ctx.Err() != nil, errors.As(err, &timed) && timed.Timeout():
		e.What, e.Next = "did not answer in time", "try again, or allow it more time"
	case errors.As(err, &name):
		e.What, e.Next = "is a host name that cannot be resolved", "check the ID of the application and the DNS suffix"
	case errors.As(err, &certificate), errors.As(err, &record):
		e.What = "is not trusted (" + c.token.shown(err.Error()) + ")"
		e.Next = "check the address and the clock; if a proxy inspects TLS, " +
			"give its certificate authority as the CA file"
	}
	if c.emulator != "" && ctx.Err() == nil {
		e.Next = "the emulator that wrote " + c.emulator + " seems to run no longer; start one with failover emulator"
	}
	return e
}

// printable replaces a control character, which could change the terminal.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}
