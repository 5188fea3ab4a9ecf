package emulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// The limit of polls for one device: azure-docs includes/iot-dps-limits.md.
const (
	pollLimit  = 5 // largest number of polls within pollWindow
	pollWindow = 10 * time.Second
)

// An operation is one registration of a device. It ends when its time is over, also if nobody polls.
type operation struct {
	id     string
	ready  time.Time   // when its time is over
	timer  *time.Timer // ends the operation at that time
	result string      // its status after the end; empty before
}

func (o operation) stop() {
	if o.timer != nil {
		o.timer.Stop()
	}
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
		q.cloud.emitRefusal(refuseRegistrations, KindRegister, "DPS", id, "answered 429: more than %d registrations a "+
			"minute", q.cloud.config.Registrations)
		q.throttle(max(wait, q.cloud.config.RetryAfter))
		return
	}
	if q.client.scope != q.cloud.config.IDScope {
		q.cloud.emitRefusal(refuseScope, KindRegister, "DPS", id, "answered 404: there is no ID scope %.40q",
			q.client.scope)
		q.fail(404, 404201, fmt.Sprintf("There is no ID scope %.40s.", q.client.scope))
		return
	}
	payload, notes, err := parseRegistration(id, body)
	if err != nil {
		_ = q.cloud.violation(refusalOf(err), "DPS", id, "sent a register request in which %v", err)
		q.fail(400, 400012, "Deserialization error: "+err.Error())
		return
	}
	q.cloud.note("DPS", id, notes...)
	q.lastPayloads[id] = payload
	d := q.cloud.registering(id)
	if model := modelIn(payload); model != "" {
		d.model = model
	}
	q.startOperation(d)
	q.assigning(d)
}

// startOperation starts a registration, which replaces the device's earlier one.
func (q dpsRequest) startOperation(d *device) {
	takes := q.assignmentTime()
	q.cloud.serial++
	id := fmt.Sprintf("4.%016x.%08x-0000-4000-8000-%012x", q.cloud.serial, q.cloud.serial, q.cloud.serial)
	d.operation.stop()
	d.operation = operation{id: id, ready: time.Now().Add(takes)}
	p := q.dps
	d.operation.timer = time.AfterFunc(takes, func() {
		p.cloud.mu.Lock()
		defer p.cloud.unlock()
		if d.operation.id == id && !p.cloud.isClosed() {
			p.decide(d)
		}
	})
}

// parseRegistration parses {"registrationId":…,"payload":…}. The real DPS refuses unknown members
// (azure-docs issue 66740: a modelId outside the payload is 400012). The documents name two more
// members, tpm and csr. They also say that the payload is an object
// (iot-dps/how-to-send-additional-data.md), but Microsoft's SDK for Java and its sample for Python
// send a string. Whether DPS compares the registration ID in the body is not documented.
func parseRegistration(id string, body []byte) (payload []byte, notes []string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil || !utf8.Valid(body) {
		return nil, nil, refuse(refuseBody, "the body is not a JSON object in UTF-8")
	}
	if CheckJSON(body) != nil {
		notes = append(notes, "sent a registration with "+changedJSON)
	}
	for name := range fields {
		switch name {
		case "registrationId", "payload":
		case "tpm", "csr":
			notes = append(notes, "sent "+name+" with its registration, which the emulator ignores")
		default:
			return nil, nil, refuse(refuseBody, "the unknown member %.60q stands beside registrationId and payload",
				name)
		}
	}
	named := id
	if raw, given := fields["registrationId"]; !given {
		notes = append(notes, "left the registrationId out of the body of its registration")
	} else if json.Unmarshal(raw, &named) != nil || !strings.EqualFold(named, id) { // these IDs are case-insensitive
		notes = append(notes, "sent a registration whose body has another registrationId")
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
		_ = q.cloud.violation(refusePolls, "DPS", id, "polled more than %d times in %v", pollLimit, pollWindow)
		q.throttle(q.cloud.config.RetryAfter)
		return
	}
	q.recentPolls[id] = append(recent, now)
	d := q.cloud.devices[q.cloud.provisioning.deviceIDOf(id)]
	switch {
	case d == nil || operationID == "" || operationID != d.operation.id:
		q.cloud.emitRefusal(refuseOperation, KindRegister, "DPS", id, "answered 404: there is no such operation")
		q.fail(404, 404202, "There is no such operation.")
	case now.Before(d.operation.ready):
		q.assigning(d)
	default:
		q.decide(d) // a poll may come at the same time as the timer
		q.finish(d)
	}
}
