package emulator

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// timestamp formats a time as the services do.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

func (q dpsRequest) assigning(d *device) {
	q.answer(202, retryAfterText(q.cloud.config.RetryAfter), map[string]any{
		"operationId": d.operation.id, "status": "assigning",
		"registrationState": map[string]any{"registrationId": q.client.id, "status": "assigning"},
	})
}

// finish answers a poll with the result of the operation.
func (q dpsRequest) finish(d *device) {
	status, now := d.operation.result, q.frontend.now()
	skew := time.Until(now)
	state := map[string]any{
		"registrationId": q.client.id, "status": status, "etag": etag(q.cloud.serial), "symmetricKey": map[string]any{},
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

// answer sends an answer after Config.AnswerDelay, if the client has subscribed to answers.
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
	q.client.answers.after(q.cloud.config.AnswerDelay+q.triggered(DPSLateAnswers).delay(), send)
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
