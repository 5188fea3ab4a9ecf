package emulator

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The limit of polls for one device: azure-docs includes/iot-dps-limits.md.
const (
	pollLimit  = 5 // largest number of polls within pollWindow
	pollWindow = 10 * time.Second
)

// timestamp formats a time as the services do.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// An operation is one registration of a device.
type operation struct {
	id      string
	ready   time.Time
	decided bool // assign has decided the hub
}

// Registrations returns the number of register requests of a registration ID. It includes refused
// requests, but not polls.
func (c *Cloud) Registrations(registrationID string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dps.registerCounts[registrationID]
}

// RegistrationPayload returns the payload of the last register request of a registration ID, as it
// was sent, or nil.
func (c *Cloud) RegistrationPayload(registrationID string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]byte(nil), c.dps.lastPayloads[registrationID]...)
}

// A dpsRequest is one register request (PUT) or poll (GET).
type dpsRequest struct {
	*dps
	conn   *connection
	client *dpsClient
	rid    string
}

func (q dpsRequest) register(body []byte) {
	id := q.client.id
	q.registerCounts[id]++
	q.cloud.emit(KindRegister, "DPS", id, "register request %d", q.registerCounts[id])
	if q.answerFault(DPSThrottlesRegister) {
		return
	}
	if wait := q.gate.Admit(time.Now()); wait > 0 {
		q.cloud.emit(KindRegister, "DPS", id, "answered 429: more than %d registrations a minute",
			q.cloud.config.Registrations)
		q.throttle(max(wait, q.cloud.config.RetryAfter))
		return
	}
	if q.client.scope != q.cloud.config.IDScope {
		q.fail(404, 404201, fmt.Sprintf("There is no ID scope %.40s.", q.client.scope))
		return
	}
	payload, notes, err := parseRegistration(id, body)
	if err != nil {
		_ = q.cloud.violation("DPS", id, "sent a register request in which %v", err)
		q.fail(400, 400012, "Deserialization error: "+err.Error())
		return
	}
	q.cloud.note("DPS", id, notes...)
	q.lastPayloads[id] = payload
	d := q.cloud.enroll(id)
	if model := modelIn(payload); model != "" {
		d.model = model
	}
	q.cloud.serial++
	d.operation = operation{
		id:    fmt.Sprintf("4.%016x.%08x-0000-4000-8000-%012x", q.cloud.serial, q.cloud.serial, q.cloud.serial),
		ready: time.Now().Add(q.assignmentTime()),
	}
	q.assigning(d)
}

// parseRegistration parses {"registrationId":…,"payload":…}. The real DPS refuses unknown members
// (azure-docs issue 66740: a modelId outside the payload is 400012). The documents name two more
// members, tpm and csr. They also say that the payload is an object
// (iot-dps/how-to-send-additional-data.md), but Microsoft's SDK for Java and its sample for Python
// send a string.
func parseRegistration(id string, body []byte) (payload []byte, notes []string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return nil, nil, errors.New("the body is not a JSON object")
	}
	if err := CheckJSON(body); err != nil {
		return nil, nil, fmt.Errorf("decoding would change the body: %w", err)
	}
	for name := range fields {
		switch name {
		case "registrationId", "payload":
		case "tpm", "csr":
			notes = append(notes, "sent "+name+" with its registration, which the emulator ignores")
		default:
			return nil, nil, fmt.Errorf("the unknown member %.60q stands beside registrationId and payload", name)
		}
	}
	named := id
	if raw, given := fields["registrationId"]; !given {
		notes = append(notes, "left the registrationId out of the body of its registration")
	} else if json.Unmarshal(raw, &named) != nil || !strings.EqualFold(named, id) { // these IDs are case-insensitive
		return nil, nil, fmt.Errorf("registrationId is not %q", id)
	}
	payload = fields["payload"]
	if text := bytes.TrimSpace(payload); len(text) > 0 && text[0] != '{' && string(text) != "null" {
		notes = append(notes, "sent a payload to DPS that is not a JSON object, as Microsoft's SDK for Java does")
	}
	return payload, notes, nil
}

func (q dpsRequest) poll(operationID string) {
	id := q.client.id
	if q.answerFault(DPSThrottlesPoll) {
		return
	}
	now, recent := time.Now(), q.recentPolls[id]
	for len(recent) > 0 && now.Sub(recent[0]) >= pollWindow {
		recent = recent[1:]
	}
	if len(recent) >= pollLimit {
		_ = q.cloud.violation("DPS", id, "polled more than %d times in %v", pollLimit, pollWindow)
		q.throttle(q.cloud.config.RetryAfter)
		return
	}
	q.recentPolls[id] = append(recent, now)
	d := q.cloud.devices[id]
	switch {
	case d == nil || operationID == "" || operationID != d.operation.id:
		q.fail(404, 404202, "There is no such operation.")
	case now.Before(d.operation.ready):
		q.assigning(d)
	default:
		q.complete(d)
	}
}

func (q dpsRequest) assigning(d *device) {
	q.answer(202, retryAfterText(q.cloud.config.RetryAfter), map[string]any{
		"operationId": d.operation.id, "status": "assigning",
		"registrationState": map[string]any{"registrationId": d.id, "status": "assigning"},
	})
}

func (q dpsRequest) finish(d *device, status string) {
	now := q.frontend.now()
	skew := time.Until(now)
	state := map[string]any{
		"registrationId": d.id, "status": status, "etag": etag(q.cloud.serial), "symmetricKey": map[string]any{},
		"createdDateTimeUtc": timestamp(d.created.Add(skew)), "lastUpdatedDateTimeUtc": timestamp(now),
	}
	switch status {
	case "assigned":
		state["assignedHub"], state["deviceId"], state["substatus"] = d.hub.host, d.id, d.substatus
		state["lastUpdatedDateTimeUtc"] = timestamp(d.updated.Add(skew))
		if payload := q.cloud.config.AllocationPayload; payload != "" {
			state["payload"] = json.RawMessage(payload)
		}
		q.applyHubFaults(state)
	case "failed":
		state["errorCode"], state["errorMessage"] = 400209, "The device is blocked or waits for approval."
	}
	q.answer(200, "", map[string]any{"operationId": d.operation.id, "status": status, "registrationState": state})
}

func (q dpsRequest) throttle(retryAfter time.Duration) {
	q.answer(429, retryAfterText(retryAfter), q.frontend.errorBody(429001, "Too many requests."))
}

func (q dpsRequest) fail(status, code int, message string) {
	q.answer(status, "", q.frontend.errorBody(code, message))
}

// retryAfterText returns the parameter retry-after for the topic of an answer, in whole seconds,
// rounded up. Zero means "". The parameter follows the $rid.
func retryAfterText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return "&retry-after=" + strconv.Itoa(int((d+time.Second-1)/time.Second))
}

// etag returns an entity tag in the format of the service.
func etag(n int) string { return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%010d", n)) }

// answer sends an answer, if the client has subscribed to answers.
func (q dpsRequest) answer(status int, more string, body map[string]any) {
	if !q.client.subscribed || q.triggered(DPSMute) != nil {
		return
	}
	if q.triggered(DPSNoOperationID) != nil {
		delete(body, "operationId")
	}
	if q.triggered(DPSWrongRID) != nil {
		q.cloud.serial++
		q.rid = fmt.Sprintf("nobody-%d", q.cloud.serial)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return // json.Marshal does not fail for a map of plain values
	}
	send := func() { q.send(fmt.Sprintf("$dps/registrations/res/%d/?$rid=%s%s", status, q.rid, more), text) }
	if late := q.triggered(DPSLateAnswers); late != nil || len(q.client.schedule.tasks) > 0 {
		q.client.schedule.after(late.delay(), send)
		return
	}
	send()
}

func (q dpsRequest) send(topic string, body []byte) {
	if q.client.packet++; q.client.packet == 0 {
		q.client.packet = 1
	}
	q.conn.send(publication{
		topic: topic, payload: body, qos: q.client.qos, id: q.client.packet * uint16(q.client.qos),
	})
}

// errorBody returns the body of an error answer of DPS and of twin requests.
func (f *frontend) errorBody(code int, message string) map[string]any {
	f.cloud.serial++
	return map[string]any{
		"errorCode": code, "message": message, "trackingId": fmt.Sprintf("%08x", f.cloud.serial),
		"timestampUtc": timestamp(f.now()),
	}
}
