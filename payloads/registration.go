package payloads

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// RegistrationFilter is the only subscription that DPS allows. Source of all topics of DPS:
// azure-docs iot/iot-mqtt-connect-to-iot-dps.md.
const RegistrationFilter = registrationPrefix + "#"

const (
	registrationPrefix   = "$dps/registrations/res/"
	maxRegistrationBytes = 96 * 1024 // azure-docs includes/iot-dps-limits.md
)

// RegisterTopic returns the topic of a request to register a device.
func RegisterTopic(requestID string) string {
	return "$dps/registrations/PUT/iotdps-register/?$rid=" + escape(requestID)
}

// PollTopic returns the topic of a request for the state of a registration. The request needs no
// body.
func PollTopic(requestID, operationID string) string {
	return "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=" + escape(requestID) +
		"&operationId=" + escape(operationID)
}

// RegisterBody returns the body of a request to register a device. The payload is for the
// enrollment's allocation policy, or {"modelId": …} for IoT Central; nil leaves it out. It returns
// an error if the body has more than 96 KB, or if the payload is not UTF-8 or cannot be marshalled.
func RegisterBody(registrationID string, payload any) ([]byte, error) {
	if raw, ok := payload.(json.RawMessage); ok && len(raw) == 0 {
		payload = nil
	}
	body, err := Marshal(struct {
		RegistrationID string `json:"registrationId"`
		Payload        any    `json:"payload,omitempty"`
	}{registrationID, payload})
	if err != nil {
		return nil, fmt.Errorf("payloads: register: %w", err)
	}
	if len(body) > maxRegistrationBytes {
		return nil, fmt.Errorf("payloads: register: %d bytes, at most %d fit", len(body), maxRegistrationBytes)
	}
	return body, nil
}

// A RegistrationAnswer is DPS's answer to a request to register a device or for the state of a
// registration. A zero field means that the answer does not have it. Source: the REST reference of
// DPS (Runtime Registration).
type RegistrationAnswer struct {
	Status      int // status code as in HTTP
	RequestID   string
	RetryAfter  time.Duration
	OperationID string // an answer to a poll may lack it: use the one that is known
	State       string // lower case: assigning, assigned, failed, disabled or unassigned
	Substatus   string
	AssignedHub string // a host name, perhaps with a port
	DeviceID    string // device ID at the hub; may differ from the registration ID
	Code        int    // errorCode of the body or of its registrationState

	Stamped time.Time // DPS's clock at the time of an error
	Updated time.Time // the latest change of the registration, by DPS's clock

	Message, TrackingID string
	Payload             json.RawMessage // what a custom allocation policy returned

	BadProperties error // names the properties of the topic that could not be read; nil means that all were read
}

// ParseRegistrationAnswer reads an answer of DPS. If the body of an error answer is empty or cannot
// be read, the Status is enough, and there is no error. If the body of another answer is wrong, it
// returns the Status, the RequestID and the delay with the error.
func ParseRegistrationAnswer(topic string, body []byte) (RegistrationAnswer, error) {
	t, err := parseAnswer(registrationPrefix, topic)
	if err != nil {
		return RegistrationAnswer{}, fmt.Errorf("payloads: registration: %w", err)
	}
	a := RegistrationAnswer{Status: t.status, RequestID: t.requestID, RetryAfter: t.retryAfter, BadProperties: t.bad}
	full := a
	if err := full.readBody(body); err != nil && a.Status < 300 {
		return a, fmt.Errorf("payloads: registration: %w", err)
	}
	if err := full.checkAssignment(); err != nil {
		return a, fmt.Errorf("payloads: registration: %w", err)
	}
	return full, nil
}

// readBody reads what it can, and returns an error for what it cannot read. It compares names
// without case. If a name occurs in two spellings, neither counts.
func (a *RegistrationAnswer) readBody(body []byte) error {
	if isNull(body) {
		return nil
	}
	var outer, inner struct {
		status, message string
		code            json.Number
	}
	var state, payload json.RawMessage
	var created timestamp
	err := decodeMatching(body, map[string]any{
		"operationId": &a.OperationID, "status": &outer.status, "errorCode": &outer.code, "message": &outer.message,
		"trackingId": &a.TrackingID, "timestampUtc": (*timestamp)(&a.Stamped), "registrationState": &state,
	}, strings.EqualFold)
	if !isNull(state) {
		err = cmp.Or(err, decodeMatching(state, map[string]any{
			"assignedHub": &a.AssignedHub, "deviceId": &a.DeviceID, "status": &inner.status, "substatus": &a.Substatus,
			"errorCode": &inner.code, "errorMessage": &inner.message, "payload": &payload,
			"createdDateTimeUtc": &created, "lastUpdatedDateTimeUtc": (*timestamp)(&a.Updated),
		}, strings.EqualFold))
	}
	a.State = strings.ToLower(cmp.Or(outer.status, inner.status))
	a.Code = cmp.Or(errorCode(outer.code), errorCode(inner.code))
	a.Message = cmp.Or(outer.message, inner.message)
	if created := time.Time(created); created.After(a.Updated) {
		a.Updated = created
	}
	if !isNull(payload) {
		a.Payload = payload
	}
	return err
}

// A timestamp is a time of DPS's clock. A time that cannot be read counts as missing, so that the
// rest of the answer can be used.
type timestamp time.Time

func (s *timestamp) UnmarshalJSON(text []byte) error {
	var written string
	_ = json.Unmarshal(text, &written)
	t, _ := time.Parse(time.RFC3339, written)
	*s = timestamp(t)
	return nil
}

// checkAssignment returns an error if an assignment names a hub or a device ID that cannot be part
// of an address, a user name or a topic.
func (a RegistrationAnswer) checkAssignment() error {
	if a.State != "assigned" {
		return nil
	}
	if a.AssignedHub != "" {
		if _, _, err := hostPort(a.AssignedHub, ""); err != nil {
			return fmt.Errorf("assigned hub: %w", err)
		}
	}
	if a.DeviceID != "" {
		return CheckDeviceID(a.DeviceID)
	}
	return nil
}
