package hub

import (
	"context"
	"encoding/json"
	"errors"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

type methodResult struct {
	status int
	answer any
}

// method answers a direct method on the session it came on, and on no other: its caller has long been told that the
// device was lost.
func (h *Hub) method(m transport.Message) error {
	session := h.session
	request, err := payloads.ParseMethod(m.Topic, m.Payload)
	if err != nil {
		if request.RequestID != "" {
			h.answer(h.attached, session, request, methodResult{status: 400}, err)
		}
		return err
	}
	err = invoke(h.pool, poolLimit, "method "+request.Name, func(ctx context.Context) (methodResult, error) {
		if h.Handlers.Method == nil {
			return methodResult{status: 404}, errors.New("this device has no methods")
		}
		status, answer, err := h.Handlers.Method(ctx, request.Name, request.Payload)
		if _, raw := answer.(json.RawMessage); raw || answer == nil || err != nil {
			return methodResult{status, answer}, err
		}
		text, err := payloads.Marshal(answer) // here, for that may be user code too
		return methodResult{status, json.RawMessage(text)}, err
	}, func(r methodResult, err error) { h.answer(context.Background(), session, request, r, err) }, nil)
	if err != nil {
		h.answer(h.attached, session, request, methodResult{status: 429}, err)
	}
	return nil
}

// answer gives up with ctx: receive, which Detach waits for, must not be held up by a link that stalls.
func (h *Hub) answer(ctx context.Context, session Session, request payloads.MethodRequest, r methodResult, err error) {
	if err != nil {
		if r.status < 400 {
			r.status = 500
		}
		r.answer = map[string]string{"message": err.Error()}
	} else if r.status == 0 {
		r.status = 200
	}
	topic, body, bad := payloads.MethodAnswer(r.status, request.RequestID, r.answer)
	if bad != nil { // the handler's answer cannot be sent
		text, _ := json.Marshal(map[string]string{"message": bad.Error()})
		r.status, err = 500, bad
		topic, body, bad = payloads.MethodAnswer(500, request.RequestID, json.RawMessage(text))
	}
	if bad == nil {
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		bad = session.Publish(ctx, topic, 0, body, func(error) {})
	}
	record := observe.Record{Level: observe.Info, Kind: observe.Handled, Name: "method " + request.Name, Status: r.status, Hub: session.Host()}
	if err = errors.Join(err, bad); err != nil {
		record.Level, record.Error = observe.Warn, err.Error()
	}
	h.Emit(record)
}
