package payloads

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MethodFilter is the subscription for direct methods.
const MethodFilter = "$iothub/methods/POST/#"

// MethodPrefix is what a direct method's topic begins with.
const MethodPrefix = "$iothub/methods/POST/"

// What azure-docs say: iot-hub/iot-hub-devguide-direct-methods.md of the size, JSON or nothing of both bodies, and
// iot/iot-mqtt-connect-to-iot-hub.md that the status is an integer, which in the SDKs has 32 bits.
const (
	maxMethodBytes  = 128 * 1024 // each way
	minMethodStatus = math.MinInt32
	maxMethodStatus = math.MaxInt32
)

// A MethodRequest is a direct method that the cloud calls and waits for.
type MethodRequest struct {
	Name      string          // "command", or "component*command"
	RequestID string          // opaque: the answer repeats it as it is
	Payload   json.RawMessage // byte for byte; nil for an empty body, which is not the same as null
}

// ParseMethod reads a direct method's request. When only the body is wrong, the name and the request ID
// come along with the error, so that the caller can be answered.
func ParseMethod(topic string, body []byte) (MethodRequest, error) {
	rest, ok := strings.CutPrefix(topic, MethodPrefix)
	// The name may hold anything, a slash and a question mark too: it ends at the last "/?".
	end := strings.LastIndex(rest, "/?")
	if !ok || end < 1 {
		return MethodRequest{}, fmt.Errorf("payloads: method: topic %.80q is not %s{name}/?$rid={id}",
			topic, MethodPrefix)
	}
	m := MethodRequest{Name: rest[:end], RequestID: rawRequestID(rest[end+2:])}
	if !utf8.ValidString(m.Name) {
		return MethodRequest{}, fmt.Errorf("payloads: method: name %.80q is not UTF-8", m.Name)
	}
	if err := checkRequestID(m.RequestID); err != nil {
		return MethodRequest{}, fmt.Errorf("payloads: method %.80q: %w", m.Name, err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return m, nil
	}
	if !utf8.Valid(body) || !json.Valid(body) {
		return m, fmt.Errorf("payloads: method %.80q: the payload is not UTF-8 JSON", m.Name)
	}
	m.Payload = bytes.Clone(body)
	return m, nil
}

// MethodAnswer gives the topic and body that answer a request. A nil answer is an empty body, and a
// json.RawMessage goes out as it is, byte for byte. Text that is not UTF-8 is refused.
func MethodAnswer(status int, requestID string, answer any) (topic string, body []byte, err error) {
	if status < minMethodStatus || status > maxMethodStatus {
		return "", nil, fmt.Errorf("payloads: method answer: status %d is no integer of 32 bits", status)
	}
	if err := checkRequestID(requestID); err != nil {
		return "", nil, fmt.Errorf("payloads: method answer: %w", err)
	}
	topic = fmt.Sprintf("$iothub/methods/res/%d/?$rid=%s", status, requestID)
	if len(topic) > maxTopic {
		return "", nil, errors.New("payloads: method answer: the request ID is too long to be repeated")
	}
	switch a := answer.(type) {
	case nil:
	case json.RawMessage:
		if len(a) > 0 && !(utf8.Valid(a) && json.Valid(a)) {
			return "", nil, errors.New("payloads: method answer: not UTF-8 JSON")
		}
		body = a
	default:
		if body, err = Marshal(answer); err != nil {
			return "", nil, fmt.Errorf("payloads: method answer: %w", err)
		}
	}
	if len(body) > maxMethodBytes {
		return "", nil, fmt.Errorf("payloads: method answer: %d bytes, at most %d fit",
			len(body), maxMethodBytes)
	}
	return topic, body, nil
}

// rawRequestID finds $rid without decoding it: decoding and encoding again might change it.
func rawRequestID(query string) string {
	for part := range strings.SplitSeq(query, "&") {
		if name, id, _ := strings.Cut(part, "="); name == "$rid" || name == "%24rid" {
			return id
		}
	}
	return ""
}

// checkRequestID refuses what cannot be repeated in a topic that is published.
func checkRequestID(id string) error {
	switch {
	case id == "":
		return errors.New("no request ID")
	case !utf8.ValidString(id):
		return fmt.Errorf("request ID %.80q is not UTF-8", id)
	case strings.ContainsAny(id, "+#&") || strings.ContainsFunc(id, unicode.IsControl):
		return fmt.Errorf("request ID %.80q cannot be part of a topic", id)
	}
	return nil
}
