package payloads

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// RegistrationFilter is the only subscription that DPS allows.
const RegistrationFilter = "$dps/registrations/res/#"

const (
	registrationPrefix   = "$dps/registrations/res/"
	maxRegistrationBytes = 96 * 1024 // azure-docs includes/iot-dps-limits.md
)

// RegisterTopic is the topic that asks DPS for an assigned hub.
func RegisterTopic(requestID string) string {
	return "$dps/registrations/PUT/iotdps-register/?$rid=" + escape(requestID)
}

// PollTopic is the topic that asks how a registration goes, with an empty body.
func PollTopic(requestID, operationID string) string {
	return "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=" + escape(requestID) +
		"&operationId=" + escape(operationID)
}

// RegisterBody is the body that goes with RegisterTopic. The payload is for the enrollment's allocation
// or, in IoT Central, {"modelId": …}; nil leaves it out.
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

// A RegistrationAnswer is what DPS says to a register or a poll request.
type RegistrationAnswer struct {
	Status      int
	RequestID   string
	RetryAfter  time.Duration // 0: absent
	OperationID string        // may be absent from an answer to a poll: go on with the one known
	State       string        // lower case: assigning, assigned, failed, disabled, unassigned, or ""
	Substatus   string
	AssignedHub string // a host name, perhaps with a port
	DeviceID    string // the identity at the hub, which may differ from the registration ID
	Code        int    // the errorCode of the body or of its registrationState

	Stamped time.Time // DPS's clock when it made an error; zero: absent
	Updated time.Time // when the registration last changed; DPS's clock is not before that; zero: absent

	Message, TrackingID string
	Payload             json.RawMessage // what a custom allocation returned, nil if nothing

	BadProperties error // names what could not be read of the topic's properties; nil: nothing
}

type registrationBody struct {
	OperationID, Status string
	ErrorCode           json.Number
	Message, TrackingID string
	TimestampUTC        stamp
	RegistrationState   struct {
		AssignedHub, DeviceID, Status, Substatus, ErrorMessage string
		ErrorCode                                              json.Number
		CreatedDateTimeUTC, LastUpdatedDateTimeUTC             stamp
		Payload                                                json.RawMessage
	}
}

// readRegistration reads what can be read, and says what cannot. Names are compared without case; of a name in two
// spellings neither counts. The payload stays as it is.
func readRegistration(body []byte) (b registrationBody, err error) {
	var state json.RawMessage
	err = decodeMatching(body, map[string]any{
		"operationId": &b.OperationID, "status": &b.Status, "errorCode": &b.ErrorCode, "message": &b.Message,
		"trackingId": &b.TrackingID, "timestampUtc": &b.TimestampUTC, "registrationState": &state,
	}, strings.EqualFold)
	if isNull(state) {
		return b, err
	}
	s := &b.RegistrationState
	return b, cmp.Or(err, decodeMatching(state, map[string]any{
		"assignedHub": &s.AssignedHub, "deviceId": &s.DeviceID, "status": &s.Status, "substatus": &s.Substatus,
		"errorCode": &s.ErrorCode, "errorMessage": &s.ErrorMessage, "payload": &s.Payload,
		"createdDateTimeUtc": &s.CreatedDateTimeUTC, "lastUpdatedDateTimeUtc": &s.LastUpdatedDateTimeUTC,
	}, strings.EqualFold))
}

// A stamp is a time of DPS's clock. One that cannot be read is absent: no answer is lost over it.
type stamp struct{ time.Time }

func (s *stamp) UnmarshalJSON(text []byte) error {
	var written string
	if json.Unmarshal(text, &written) == nil {
		s.Time, _ = time.Parse(time.RFC3339, written)
	}
	return nil
}

// ParseRegistrationAnswer reads an answer of DPS. An error answer with an empty or unreadable body is no
// error here: its Status says it all. With an error about the body, the Status, the RequestID and the
// delay come along.
func ParseRegistrationAnswer(topic string, body []byte) (RegistrationAnswer, error) {
	t, err := parseAnswer(registrationPrefix, topic)
	if err != nil {
		return RegistrationAnswer{}, fmt.Errorf("payloads: registration: %w", err)
	}
	a := RegistrationAnswer{Status: t.status, RequestID: t.requestID, RetryAfter: t.retryAfter, BadProperties: t.bad}
	var b registrationBody
	if !isNull(body) {
		b, err = readRegistration(body)
	}
	if err != nil && a.Status < 300 {
		return a, fmt.Errorf("payloads: registration: %w", err)
	}
	full := b.answer(a)
	if full.State == "assigned" {
		if err := full.checkAssignment(); err != nil {
			return a, fmt.Errorf("payloads: registration: %w", err)
		}
	}
	return full, nil
}

func (b registrationBody) answer(a RegistrationAnswer) RegistrationAnswer {
	s := b.RegistrationState
	a.OperationID = b.OperationID
	a.State = strings.ToLower(cmp.Or(b.Status, s.Status))
	a.Substatus = s.Substatus
	a.AssignedHub, a.DeviceID = s.AssignedHub, s.DeviceID
	a.Code = cmp.Or(code(b.ErrorCode), code(s.ErrorCode))
	a.Message = cmp.Or(b.Message, s.ErrorMessage)
	a.TrackingID = b.TrackingID
	a.Stamped, a.Updated = b.TimestampUTC.Time, s.LastUpdatedDateTimeUTC.Time
	if created := s.CreatedDateTimeUTC.Time; created.After(a.Updated) {
		a.Updated = created
	}
	if !isNull(s.Payload) {
		a.Payload = s.Payload
	}
	return a
}

// checkAssignment refuses names that would end up in a dialer, a username or a topic and break it there.
func (a RegistrationAnswer) checkAssignment() error {
	if a.AssignedHub != "" {
		if _, _, err := hostPort(a.AssignedHub, "8883"); err != nil {
			return fmt.Errorf("assigned hub: %w", err)
		}
	}
	if a.DeviceID != "" {
		return CheckDeviceID(a.DeviceID)
	}
	return nil
}
