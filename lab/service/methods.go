package service

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// The bounds of the two timeouts of a direct method, in seconds: azure-docs
// iot-hub/iot-hub-devguide-direct-methods.md.
const (
	defaultResponseTimeout  = 30
	shortestResponseTimeout = 5
	longestTimeout          = 300
)

const methodFilter = "$iothub/methods/POST/#"

// A methodBody is the body of a request that calls a direct method.
type methodBody struct {
	MethodName               string          `json:"methodName"`
	Payload                  json.RawMessage `json:"payload"`
	ResponseTimeoutInSeconds *int            `json:"responseTimeoutInSeconds"`
	ConnectTimeoutInSeconds  *int            `json:"connectTimeoutInSeconds"`
}

// timeouts returns how long the hub waits for the device, and then for its answer.
func (b methodBody) timeouts() (connect, response time.Duration, err error) {
	seconds := defaultResponseTimeout
	if b.ResponseTimeoutInSeconds != nil {
		seconds = *b.ResponseTimeoutInSeconds
	}
	wait := 0
	if b.ConnectTimeoutInSeconds != nil {
		wait = *b.ConnectTimeoutInSeconds
	}
	if seconds < shortestResponseTimeout || seconds > longestTimeout || wait < 0 || wait > longestTimeout {
		return 0, 0, invalid("The responseTimeoutInSeconds is not %d to %d, or connectTimeoutInSeconds is not 0 to %d.",
			shortestResponseTimeout, longestTimeout, longestTimeout)
	}
	return time.Duration(wait) * time.Second, time.Duration(seconds) * time.Second, nil
}

// invoke calls a direct method and answers with the device's answer.
func (h hub) invoke(q request) (answer, error) {
	var body methodBody
	if err := decode(q.body, &body); err != nil {
		return answer{}, err
	}
	connect, response, err := body.timeouts()
	if err != nil {
		return answer{}, err
	}
	if _, err := h.cloud.Identity(h.endpoint, q.id); err != nil {
		return answer{}, err
	}
	if err := h.waitForDevice(q.Context(), q.id, connect); err != nil {
		return answer{}, err
	}
	status, payload, err := h.cloud.CallMethod(q.Context(), q.id, body.MethodName, body.Payload, response)
	switch {
	case errors.Is(err, emulator.ErrNotOnline):
		return methodProblem(http.StatusNotFound, 404103, "Timed out waiting for device to connect.", connect), nil
	case errors.Is(err, emulator.ErrMethodTimeout):
		return methodProblem(http.StatusGatewayTimeout, 504101, "Timed out waiting for the response from device.",
			response), nil
	case q.Context().Err() != nil, errors.Is(err, emulator.ErrClosed), errors.Is(err, emulator.ErrUnknownDevice):
		return answer{}, err
	case err != nil:
		return answer{}, invalid("%s", sentence(err))
	}
	if len(payload) == 0 {
		payload = []byte("null")
	}
	return answer{status: http.StatusOK, value: map[string]any{
		"status": status, "payload": json.RawMessage(payload),
	}}, nil
}

// waitForDevice waits until the device is connected and has subscribed to direct methods, or until the
// timeout. The call of the method finds out whether the device is there.
func (h hub) waitForDevice(ctx context.Context, device string, timeout time.Duration) error {
	if timeout == 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_ = h.cloud.Wait(waiting, func() bool {
		return h.cloud.Connected(device, h.endpoint) &&
			slices.Contains(h.cloud.Subscriptions(device, h.endpoint), methodFilter)
	})
	return ctx.Err()
}

// methodProblem is the answer to a call that no device has answered. Its message is JSON in a string:
// azure-iot-cli-extension issue 54.
func methodProblem(status, code int, message string, waited time.Duration) answer {
	now := time.Now()
	text, _ := json.Marshal(map[string]any{ // cannot fail for plain values
		"errorCode": code, "trackingId": hubTrackingID(), "message": message,
		"info":         map[string]string{"timeout": time.Time{}.Add(waited).Format(time.TimeOnly)},
		"timestampUtc": timestamp(now),
	})
	return answer{status: status, value: map[string]string{"Message": string(text), "ExceptionMessage": ""}}
}
