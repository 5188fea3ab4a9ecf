package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const maximumMethod = 128 << 10 // bytes of a request or answer; azure-docs iot-hub/iot-hub-devguide-direct-methods.md

// The reasons why a direct method has no answer: IoT Hub's errors 404103 and 504101.
var (
	ErrNotOnline     = errors.New("emulator: 404103: the device is not online")
	ErrMethodTimeout = errors.New("emulator: 504101: the device did not answer in time")
)

// ErrNotJSON is the error for a direct method that the device answered with text that is not JSON.
// The service's callers get an error, too (Azure/azure-iot-sdk-c pull request 6 and issue 1641).
var ErrNotJSON = errors.New("emulator: the device answered with text that is not JSON in UTF-8")

type methodAnswer struct {
	status int
	body   []byte
	err    error
}

// InvokeMethod calls a direct method and waits for the answer, at most for Config.MethodTimeout.
// The payload is JSON or empty. The error is ErrNotOnline if the device is not connected or has not
// subscribed to methods, and ErrNotJSON if its answer is not JSON.
func (c *Cloud) InvokeMethod(
	ctx context.Context, deviceID, name string, payload []byte,
) (status int, body []byte, err error) {
	return c.CallMethod(ctx, deviceID, name, payload, c.config.MethodTimeout)
}

// CallMethod is InvokeMethod with a timeout for the answer.
func (c *Cloud) CallMethod(
	ctx context.Context, deviceID, name string, payload []byte, timeout time.Duration,
) (status int, body []byte, err error) {
	switch {
	case name == "" || strings.ContainsAny(name, "+#\x00"): // invalid in a topic: MQTT 3.1.1, 4.7.1 and 1.5.3
		return 0, nil, fmt.Errorf("emulator: method: the name %q is empty or contains +, # or NUL", name)
	case len(payload) > maximumMethod:
		return 0, nil, fmt.Errorf("emulator: method: the payload has %d bytes, and the limit is %d", len(payload),
			maximumMethod)
	case len(payload) > 0 && !isJSON(payload):
		return 0, nil, errors.New("emulator: method: the payload is not JSON in UTF-8")
	}
	rid, answer, err := c.callMethod(deviceID, name, payload)
	if err != nil {
		return 0, nil, err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case a := <-answer:
		return a.status, a.body, a.err
	case <-timer.C:
		err = fmt.Errorf("%w: %s after %v", ErrMethodTimeout, name, timeout)
	case <-ctx.Done():
		err = fmt.Errorf("emulator: method %s: %w", name, ctx.Err())
	case <-c.closed:
		err = ErrClosed
	}
	c.mu.Lock()
	defer c.unlock()
	if d := c.devices[deviceID]; d != nil { // the device may have been deleted meanwhile
		delete(d.methods, rid)
	}
	return 0, nil, err
}

func isJSON(text []byte) bool { return utf8.Valid(text) && json.Valid(text) }

// callMethod sends the request. The channel has a buffer for the answer.
func (c *Cloud) callMethod(deviceID, name string, payload []byte) (rid string, answer chan methodAnswer, err error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.device(deviceID)
	if err != nil {
		return "", nil, err
	}
	s := d.session()
	if s == nil {
		return "", nil, ErrNotOnline
	}
	if !s.listensTo(name) {
		return "", nil, fmt.Errorf("%w: the device has not subscribed to direct methods", ErrNotOnline)
	}
	c.serial++
	rid = strconv.FormatInt(int64(c.serial), 16)
	answer = make(chan methodAnswer, 1)
	d.methods[rid] = answer
	s.conn.send(publication{topic: methodRequest + name + "/?$rid=" + rid, payload: payload})
	c.emit(KindMethod, s.hub.name, d.id, "%s called", name)
	return rid, answer, nil
}

// listensTo reports whether the device has subscribed to all methods or to this method. The documents
// advise against subscriptions to single methods, because of the limit of five subscriptions
// (azure-docs iot-hub/iot-hub-devguide-direct-methods.md).
func (s *session) listensTo(method string) bool {
	_, toAll := s.filters[methodFilter]
	_, toThis := s.filters[methodRequest+method+"/#"]
	return toAll || toThis
}

// completeMethod handles an answer with the topic "{status}/?$rid={rid}". The status must be an
// integer (azure-docs iot/iot-mqtt-connect-to-iot-hub.md). The body should be JSON or empty, but a hub
// passes other text on to the caller (Azure/azure-iot-sdk-node issue 736).
func (s *session) completeMethod(topic string, body []byte) error {
	text, query, found := strings.Cut(topic, "/?")
	status, err := strconv.Atoi(text)
	rid := rawRID(query)
	switch {
	case !found || err != nil || rid == "":
		return s.violation(refuseTopic, "answered a method on %.100q, which is not %s{status}/?$rid={rid}",
			methodReply+topic, methodReply)
	case len(body) > maximumMethod:
		return s.violation(refuseMessageSize, "answered a method with %d bytes; the limit is %d", len(body),
			maximumMethod)
	}
	completed := methodAnswer{status: status, body: body}
	if len(body) > 0 && !isJSON(body) {
		s.note("answered a method with a body that is not JSON in UTF-8")
		completed = methodAnswer{err: ErrNotJSON}
	}
	answer := s.device.methods[rid]
	if answer == nil {
		s.hub.cloud.emit(KindMethod, s.hub.name, s.device.id, "an answer came too late and was discarded")
		return nil
	}
	delete(s.device.methods, rid)
	answer <- completed
	s.hub.cloud.emit(KindMethod, s.hub.name, s.device.id, "answered with %d", status)
	return nil
}
