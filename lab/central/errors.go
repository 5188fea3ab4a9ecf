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

// An Error is why an application did not do what it was asked, and what can be done about it, in one sentence.
type Error struct {
	Host       string
	Status     int           // of the answer; 0 if there was none
	Code       string        // IoT Central's word for it, such as NotFound
	What       string        // what happened
	Next       string        // what to do
	RetryAfter time.Duration // what the answer says
	Err        error         // why there was no answer
}

func (e *Error) Error() string {
	text := "central: " + e.Host + " " + e.What
	if e.Next != "" {
		text += ": " + e.Next
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// A complaint is an answer that says what is wrong: IoT Central's shape, then DPS's and that of the gateways before both.
type errorAnswer struct {
	Error     json.RawMessage `json:"error"`
	Message   string          `json:"message"`
	ErrorCode json.Number     `json:"errorCode"`
}

// details are what IoT Central says of an error.
type details struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	RequestID string `json:"requestId"`
}

// refusal is the error that an answer is, or nil.
func (c *Client) answerError(answer *http.Response, text []byte) error {
	ok := answer.StatusCode >= 200 && answer.StatusCode < 300
	switch {
	case len(text) > answerLimit:
		return c.newError(answer, "", fmt.Sprintf("more than %d bytes", answerLimit), "check the address, and whether a proxy answers in its place")
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return c.redirectError(answer)
	case len(text) == 0 && ok:
		return nil
	case !json.Valid(text) && len(text) > 0:
		return c.notJSONError(answer)
	}
	var said errorAnswer
	var d details
	_ = json.Unmarshal(text, &said) // what is of another shape says nothing
	if json.Unmarshal(said.Error, &d) != nil {
		_ = json.Unmarshal(said.Error, &d.Message)
	}
	if ok && (d.Code == "" || d.Message == "") { // a property may be named error
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

// misunderstood is for an answer that is no JSON, such as the page of a proxy. It is not quoted: it may repeat the request.
func (c *Client) notJSONError(answer *http.Response) error {
	kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	if kind == "" {
		kind = "something"
	}
	return c.newError(answer, "", kind+" that is not IoT Central's", "check the ID of the application, the DNS suffix, and whether a proxy answers in its place")
}

func (c *Client) redirectError(answer *http.Response) error {
	where := "nowhere"
	if to, err := answer.Location(); err == nil { // the rest of it may hold anything
		where = to.Scheme + "://" + to.Host
	}
	return c.newError(answer, "", "it sends to "+where, "the token does not follow; if that is the application, give its address")
}

// next is what to do about a status.
func (c *Client) nextStep(e *Error, requestID string) string {
	switch s := e.Status; {
	case s == http.StatusUnauthorized && c.emulator != "":
		return "it has been started anew in this moment; try again"
	case c.emulator != "" && e.Code != "":
		return "" // the emulator's own words say it
	case s == http.StatusUnauthorized:
		return "the token has expired, was revoked or is for another application; make one in IoT Central, Permissions, API tokens"
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
	return "" // the message is about the request
}

// retryAfter understands both ways of writing it.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil { // more would be no Duration
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at).Round(time.Second))
	}
	return 0
}

// unanswered is why no answer came.
func (c *Client) noAnswerError(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("central: %s: %w", c.host(), ctx.Err())
	}
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err // the rest repeats the address
	}
	e := &Error{Host: c.host(), Err: err, What: "cannot be reached (" + c.token.shown(err.Error()) + ")", Next: "check the address, the network and HTTPS_PROXY"}
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var timed net.Error
	var step *net.OpError
	switch {
	case errors.As(err, &step) && step.Op == "proxyconnect": // its address may hold a password
		e.What, e.Next = "cannot be reached through the proxy", "check HTTPS_PROXY"
	case ctx.Err() != nil, errors.As(err, &timed) && timed.Timeout():
		e.What, e.Next = "did not answer in time", "try again, or allow it more time"
	case errors.As(err, &name):
		e.What, e.Next = "is a name that is not found", "check the ID of the application and the DNS suffix"
	case errors.As(err, &certificate), errors.As(err, &record):
		e.What = "is not trusted (" + c.token.shown(err.Error()) + ")"
		e.Next = "check the address and the clock; where a proxy looks into TLS, give its authority as the CA file"
	}
	if c.emulator != "" && ctx.Err() == nil {
		e.Next = "the emulator that wrote " + c.emulator + " runs no more, it seems; start one with failover emulator"
	}
	return e
}

// printable keeps an answer from moving the cursor.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}
