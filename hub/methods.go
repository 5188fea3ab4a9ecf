package hub

import (
	"context"
	"encoding/json"
	"errors"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// methods gives direct methods to their handler and answers them.
type methods struct {
	handler func(context.Context, string, json.RawMessage) (status int, answer any, err error) // nil means no handler
	pool    *pool
	emit    func(observe.Record)
}

type methodResult struct {
	status int
	answer any
}

// receive runs the handler of a direct method and answers on the session on which the request came.
// It never answers on a later session, because by then the hub has told the caller that the device
// was lost. An answer that receive sends itself, without a handler, ends with ctx, because receive
// must not wait for a session that stalls.
func (m *methods) receive(ctx context.Context, s Session, message transport.Message) error {
	request, err := payloads.ParseMethod(message.Topic, message.Payload)
	if err != nil {
		if request.RequestID != "" {
			m.answer(ctx, s, request, methodResult{status: 400}, err)
		}
		return err
	}
	err = invoke(m.pool, poolLimit, "method "+request.Name, func(ctx context.Context) (methodResult, error) {
		if m.handler == nil {
			return methodResult{status: 404}, errors.New("this device has no methods")
		}
		status, answer, err := m.handler(ctx, request.Name, request.Payload)
		if _, raw := answer.(json.RawMessage); raw || answer == nil || err != nil {
			return methodResult{status, answer}, err
		}
		text, err := payloads.Marshal(answer) // on a goroutine of the pool: Marshal may call the program's code
		return methodResult{status, json.RawMessage(text)}, err
	}, func(r methodResult, err error) { m.answer(context.Background(), s, request, r, err) }, nil)
	if err != nil {
		m.answer(ctx, s, request, methodResult{status: 429}, err)
	}
	return nil
}

func (m *methods) answer(ctx context.Context, s Session, request payloads.MethodRequest, r methodResult, err error) {
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
		bad = s.Publish(ctx, topic, 0, body, func(error) {})
	}
	record := handled("method "+request.Name, r.status, errors.Join(err, bad))
	record.Hub = s.Host()
	m.emit(record)
}
