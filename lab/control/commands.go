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

// How long a command may wait for a device to connect and to answer. IoT Central's reference names defaults
// only, 0 s and 30 s. An answer has 30 s by azure-docs iot-central/core/howto-use-commands.md; the other bounds
// are a hub's, in the reference of DigitalTwinInvokeCommandRequestOptions.
const (
	longestConnect   = 300 * time.Second
	shortestResponse = 5 * time.Second
	longestResponse  = 30 * time.Second
)

// methodFilter is what a device subscribes to that listens to direct methods.
const methodFilter = "$iothub/methods/POST/#"

// name is what DTDL v2 allows, which IoT Central's templates are written in:
// https://github.com/Azure/opendigitaltwins-dtdl.
var name = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_]{0,62}[A-Za-z0-9])?$`)

// A commandRequest is the body of a POST. Times are in seconds.
type commandRequest struct {
	Request           json.RawMessage `json:"request"`
	ConnectionTimeout int             `json:"connectionTimeout"`
	ResponseTimeout   *int            `json:"responseTimeout"`
}

// An execution is a command that was run. One that is queued for the device has no response.
type commandRun struct {
	Request      json.RawMessage `json:"request,omitempty"`
	Response     json.RawMessage `json:"response,omitempty"`
	ResponseCode int             `json:"responseCode,omitempty"`
}

func (q commandRequest) times() (connect, response time.Duration, err error) {
	const mostConnect, least, most = int(longestConnect / time.Second), int(shortestResponse / time.Second), int(longestResponse / time.Second)
	answer := most
	setIfGiven(&answer, q.ResponseTimeout)
	switch { // in seconds, of which not every number is a Duration
	case q.ConnectionTimeout < 0 || q.ConnectionTimeout > mostConnect:
		err = invalidContent("The connectionTimeout is %d: it is 0 to %d, in seconds.", q.ConnectionTimeout, mostConnect)
	case answer < least || answer > most:
		err = invalidContent("The responseTimeout is %d: it is %d to %d, in seconds.", answer, least, most)
	}
	return time.Duration(q.ConnectionTimeout) * time.Second, time.Duration(answer) * time.Second, err
}

// run runs a command: as a direct method, or, if the template says that it waits for the device, as a message to it.
func (a *application) runCommand(r *http.Request, body []byte) (int, any, error) {
	var q commandRequest
	if err := decode(body, &q, false); err != nil {
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

// command is the one that a request names.
func (a *application) command(r *http.Request) (capabilityName, capability, error) {
	p := capabilityName{r.PathValue("device"), r.PathValue("component"), r.PathValue("name")}
	d, err := a.device(r)
	if err != nil {
		return p, capability{}, err
	}
	if !name.MatchString(p.name) || p.component != "" && !name.MatchString(p.component) {
		return p, capability{}, notFound("A command and a component have names of letters, digits and _.")
	}
	c, known, err := a.capability(d, p)
	if err == nil && known && !c.command {
		err = notFound("The template's %.100q is no command.", p.name)
	}
	return p, c, err
}

// inHub is how a hub knows a command.
func (p capabilityName) methodName() string {
	if p.component == "" {
		return p.name
	}
	return p.component + "*" + p.name
}

// queue sends the parameter raw, as IoT Central does: a text without its quotes.
func (a *application) queueCommand(p capabilityName, request json.RawMessage) error {
	var parameter bytes.Buffer
	var text string
	switch {
	case len(request) == 0 || string(request) == "null":
	case json.Unmarshal(request, &text) == nil:
		parameter.WriteString(text)
	default:
		_ = json.Compact(&parameter, request) // it was decoded from JSON
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

// await gives a device time to connect and to listen. That it does not is found out by whoever calls it.
func (a *application) waitForDevice(ctx context.Context, device string, patience time.Duration) error {
	if patience == 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_ = a.cloud.Wait(waiting, func() bool {
		hub := a.cloud.HubOf(device)
		return a.cloud.Connected(device, hub) && slices.Contains(a.cloud.Subscriptions(device, hub), methodFilter)
	})
	return ctx.Err()
}

func (a *application) invoke(ctx context.Context, p capabilityName, request []byte, patience time.Duration) (int, json.RawMessage, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, response, err := a.cloud.InvokeMethod(waiting, p.device, p.methodName(), request)
	switch {
	case err == nil:
		return status, response, nil
	case errors.Is(err, emulator.ErrNotOnline):
		return 0, nil, notFound("Could not connect to the device to send it the command: " +
			"it is not connected, or has not subscribed to direct methods.")
	case errors.Is(err, emulator.ErrMethodTimeout), errors.Is(err, context.DeadlineExceeded):
		return 0, nil, &problem{http.StatusRequestTimeout, "RequestTimeout", "The device did not answer the command in time."}
	case ctx.Err() != nil, errors.Is(err, emulator.ErrClosed), errors.Is(err, emulator.ErrUnknownDevice):
		return 0, nil, err
	}
	return 0, nil, invalidContent("%s", sentence(err))
}

// history is the last run of a command.
func (a *application) commandHistory(r *http.Request, _ []byte) (int, any, error) {
	p, _, err := a.command(r)
	if err != nil {
		return 0, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	all := []commandRun{}
	if e, was := a.lastRuns[p]; was {
		all = append(all, e)
	}
	return http.StatusOK, map[string]any{"value": all}, nil
}
