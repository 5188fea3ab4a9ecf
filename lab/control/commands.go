package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// The bounds of a command's timeouts. IoT Central's reference names only the defaults, 0 s and 30
// s. The longest response timeout is in azure-docs iot-central/core/howto-use-commands.md. The
// other bounds are the bounds of a hub, from the reference of DigitalTwinInvokeCommandRequestOptions.
const (
	longestConnect   = 300 * time.Second
	shortestResponse = 5 * time.Second
	longestResponse  = 30 * time.Second
)

// methodFilter is the topic filter of direct methods.
const methodFilter = "$iothub/methods/POST/#"

// name matches the names that are valid in DTDL v2, the language of IoT Central's templates:
// https://github.com/Azure/opendigitaltwins-dtdl.
var name = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_]{0,62}[A-Za-z0-9])?$`)

// A commandRequest is the body of a POST. The timeouts are in seconds.
type commandRequest struct {
	Request           json.RawMessage `json:"request"`
	ConnectionTimeout int             `json:"connectionTimeout"`
	ResponseTimeout   *int            `json:"responseTimeout"`
}

// A commandRun is a command that was run. A command that was queued for the device has no response.
type commandRun struct {
	Request      json.RawMessage `json:"request,omitempty"`
	Response     json.RawMessage `json:"response,omitempty"`
	ResponseCode int             `json:"responseCode,omitempty"`
}

func (q commandRequest) times() (connect, response time.Duration, err error) {
	const mostConnect = int(longestConnect / time.Second)
	const least, most = int(shortestResponse / time.Second), int(longestResponse / time.Second)
	answer := most
	setIfGiven(&answer, q.ResponseTimeout)
	switch { // compare seconds, because a large number of seconds overflows time.Duration
	case q.ConnectionTimeout < 0 || q.ConnectionTimeout > mostConnect:
		err = invalidContent("The connectionTimeout is %d: it must be 0 to %d seconds.", q.ConnectionTimeout,
			mostConnect)
	case answer < least || answer > most:
		err = invalidContent("The responseTimeout is %d: it must be %d to %d seconds.", answer, least, most)
	}
	return time.Duration(q.ConnectionTimeout) * time.Second, time.Duration(answer) * time.Second, err
}

// runCommand runs a command as a direct method. If the template says that the command is durable,
// runCommand sends a cloud-to-device message instead.
func (a *application) runCommand(r *http.Request, body []byte) (int, any, error) {
	var q commandRequest
	if err := decode(body, &q, commandExample(body), false); err != nil {
		return 0, nil, err
	}
	connect, response, err := q.times()
	if err != nil {
		return 0, nil, err
	}
	p, c, err := a.command(r)
	if err != nil {
		return 0, nil, err
	}
	e := commandRun{Request: q.Request}
	if c.durable {
		err = a.queueCommand(p, q.Request)
	} else if err = a.waitForDevice(r.Context(), p.device, connect); err == nil {
		e.ResponseCode, e.Response, err = a.invoke(r.Context(), p, q.Request, response)
	}
	if err != nil {
		return 0, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastRuns[p] = e
	if !c.durable {
		e.Request = nil
	}
	return http.StatusCreated, e, nil
}

// command returns the command that a request names.
func (a *application) command(r *http.Request) (capabilityName, capability, error) {
	p := capabilityName{r.PathValue("device"), r.PathValue("component"), r.PathValue("name")}
	d, err := a.device(r)
	if err != nil {
		return p, capability{}, err
	}
	if !name.MatchString(p.name) || p.component != "" && !name.MatchString(p.component) {
		return p, capability{}, notFound("The names of commands and components consist of letters, digits and _.")
	}
	c, known, err := a.capability(d, p)
	if err == nil && known && !c.command {
		err = notFound("In the template, %.100q is not a command.", p.name)
	}
	return p, c, err
}

// methodName returns the name of a command as a direct method.
func (p capabilityName) methodName() string {
	if p.component == "" {
		return p.name
	}
	return p.component + "*" + p.name
}

// queueCommand sends the parameter raw, as IoT Central does: a string has no quotes.
func (a *application) queueCommand(p capabilityName, request json.RawMessage) error {
	var parameter bytes.Buffer
	var text string
	switch {
	case len(request) == 0 || string(request) == "null":
	case json.Unmarshal(request, &text) == nil:
		parameter.WriteString(text)
	default:
		_ = json.Compact(&parameter, request) // cannot fail, because request was decoded from JSON
	}
	err := a.cloud.SendCommand(p.device, p.methodName(), parameter.Bytes())
	switch {
	case errors.Is(err, emulator.ErrQueueFull):
		return &problem{http.StatusTooManyRequests, "TooManyRequests", sentence(err)}
	case errors.Is(err, emulator.ErrNeverSeen):
		return notFound("%s", sentence(err))
	case err != nil && !errors.Is(err, emulator.ErrUnknownDevice):
		return invalidContent("%s", sentence(err))
	}
	return err
}

// waitForDevice waits until the device is connected and has subscribed to direct methods, or until
// the timeout. It returns an error only if ctx has ended; the call of the method finds out whether
// the device is there.
func (a *application) waitForDevice(ctx context.Context, device string, timeout time.Duration) error {
	if timeout == 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_ = a.cloud.Wait(waiting, func() bool {
		hub := a.cloud.HubOf(device)
		return a.cloud.Connected(device, hub) && slices.Contains(a.cloud.Subscriptions(device, hub), methodFilter)
	})
	return ctx.Err()
}

func (a *application) invoke(
	ctx context.Context, p capabilityName, request []byte, timeout time.Duration,
) (status int, response json.RawMessage, err error) {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	status, response, err = a.cloud.InvokeMethod(waiting, p.device, p.methodName(), request)
	switch {
	case err == nil:
		return status, response, nil
	case errors.Is(err, emulator.ErrNotOnline):
		return 0, nil, notFound("Could not connect to the device to send it the command: " +
			"it is not connected, or has not subscribed to direct methods.")
	case errors.Is(err, emulator.ErrMethodTimeout), errors.Is(err, context.DeadlineExceeded):
		return 0, nil, &problem{
			http.StatusRequestTimeout, "RequestTimeout", "The device did not answer the command in time.",
		}
	case ctx.Err() != nil, errors.Is(err, emulator.ErrClosed), errors.Is(err, emulator.ErrUnknownDevice):
		return 0, nil, err
	}
	return 0, nil, invalidContent("%s", sentence(err))
}

// commandHistory returns the last run of a command.
func (a *application) commandHistory(r *http.Request, _ []byte) (int, any, error) {
	p, _, err := a.command(r)
	if err != nil {
		return 0, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	all := []commandRun{}
	if e, found := a.lastRuns[p]; found {
		all = append(all, e)
	}
	return http.StatusOK, map[string]any{"value": all}, nil
}
