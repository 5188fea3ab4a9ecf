package payloads

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MethodFilter is the subscription for direct methods, and MethodPrefix the beginning of their
// topics. Source: azure-docs iot/iot-mqtt-connect-to-iot-hub.md.
const (
	MethodFilter = MethodPrefix + "#"
	MethodPrefix = "$iothub/methods/POST/"
)

// maxMethodBytes bounds the body of a request and that of an answer. Source: azure-docs
// iot-hub/iot-hub-devguide-direct-methods.md.
const maxMethodBytes = 128 * 1024

// A MethodRequest is a direct method that the cloud calls. The cloud waits for the answer.
type MethodRequest struct {
	Name      string          // "command", or "component*command"
	RequestID string          // as it stands in the topic; the answer repeats it
	Payload   json.RawMessage // body, byte for byte; nil means an empty body, which is not the same as null
}

// ParseMethod reads the request of a direct method. If only the body is wrong, it returns the name
// and the request ID with the error, so that the caller can get an answer.
func ParseMethod(topic string, body []byte) (MethodRequest, error) {
	rest, ok := strings.CutPrefix(topic, MethodPrefix)
	end := strings.LastIndex(rest, "/?") // the name may hold "/?" too
	if !ok || end < 1 {
		return MethodRequest{},
			fmt.Errorf("payloads: method: topic %.80q is not %s{name}/?$rid={id}", topic, MethodPrefix)
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
	if !isUTF8JSON(body) {
		return m, fmt.Errorf("payloads: method %.80q: the payload is not UTF-8 JSON", m.Name)
	}
	m.Payload = bytes.Clone(body)
	return m, nil
}

// MethodAnswer returns the topic and the body that answer a direct method. A nil answer is an empty
// body, and a json.RawMessage is sent byte for byte. It returns an error if the status has more
// than 32 bits, if the body has more than 128 KB or is not UTF-8, or if the request ID cannot be
// part of a topic. Source of the topic: azure-docs iot/iot-mqtt-connect-to-iot-hub.md; the status
// has 32 bits in Microsoft's SDKs.
func MethodAnswer(status int, requestID string, answer any) (topic string, body []byte, err error) {
	if int(int32(status)) != status {
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
		if len(a) > 0 && !isUTF8JSON(a) {
			return "", nil, errors.New("payloads: method answer: not UTF-8 JSON")
		}
		body = a
	default:
		if body, err = Marshal(answer); err != nil {
			return "", nil, fmt.Errorf("payloads: method answer: %w", err)
		}
	}
	if len(body) > maxMethodBytes {
		return "", nil, fmt.Errorf("payloads: method answer: %d bytes, at most %d fit", len(body), maxMethodBytes)
	}
	return topic, body, nil
}

// rawRequestID returns the value of $rid without decoding it, because decoding and encoding again
// could change it.
func rawRequestID(query string) string {
	for part := range strings.SplitSeq(query, "&") {
		if name, id, _ := strings.Cut(part, "="); name == "$rid" || name == "%24rid" {
			return id
		}
	}
	return ""
}

// checkRequestID returns an error if the topic of an answer cannot hold a request ID.
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

func isUTF8JSON(text []byte) bool { return utf8.Valid(text) && json.Valid(text) }
