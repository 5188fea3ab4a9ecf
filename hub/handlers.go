package hub

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// Handlers are the user's code. Each call has a goroutine of its own, and a ctx that ends at the handler's deadline or
// when the device closes, so a handler may take its time and even hang: nothing else waits for it. A handler that
// panics has failed. Whoever called it and the log are told its error, with [key] in the place of the device's key.
type Handlers struct {
	// Method answers a direct method. payload is the caller's, byte for byte, and nil when there is none. status is
	// like HTTP's, 0 meaning 200, or 500 with an error; answer is marshalled to JSON, and a json.RawMessage sent as
	// it is. Unset, every method is answered with 404.
	Method func(ctx context.Context, name string, payload json.RawMessage) (status int, answer any, err error)
	// Command takes a cloud-to-device message. Only nil completes it, be it late; after an error the hub delivers it again.
	// A message with an ID is not handled again while it is among the last 256 that were completed, even if a hub delivers
	// it again; only a process that is killed right behind the handler's end forgets it. Unset, the device does not subscribe.
	Command func(ctx context.Context, m payloads.Message) error
	// Desired takes one desired property, of a component or of the device itself; value is the whole of it, even when
	// a part of an object has changed, and null when it was removed. Its answer is the acknowledgement. It is asked
	// again when the value changes or is set anew, and after a restart, not because it has failed. Unset, every
	// property is acknowledged with 404.
	Desired func(ctx context.Context, property payloads.PropertyName, value json.RawMessage) (PropertyAck, error)
	// Timeout is each call's deadline. Zero means 30 s.
	Timeout time.Duration
}

// A PropertyAck is what a device answers to a desired property. The zero PropertyAck is 200, with the desired value. An error from the
// handler makes it 500 with the error's text, or keeps a Code of 400 or more. A long text is cut off, and a value that no
// hub takes, or that would be changed on its way, is left out, which the text then says.
type PropertyAck struct {
	Value       any // the value in force; nil: the desired one
	Code        int // 200 done, 202 going on, 203 a value of the device's own, 4xx refused; 0: 200
	Description string
}

// Attach attaches the message handlers to a session. The readings taken until a session is first attached are its backlog.
// The first time, it reads which messages have been completed.
func (h *Hub) Attach(s Session, deviceID string) {
	if h.session != s {
		h.session, h.device = s, deviceID
		h.delivery = newDelivery(h.Settings, h.suspects, s, deviceID)
	}
	h.twin.restart()
	if err := h.completed.load(); err != nil {
		h.warn("", err)
	}
	h.attached, h.detach = context.WithCancel(context.Background())
	s.Attach(h.receive)
}

// Detach takes the handlers away; what the hub sends from now on waits in the session. Handlers that run go on.
func (h *Hub) Detach() {
	h.detach()
	h.session.Detach()
}

// receive sorts what the hub sends. It must not block.
func (h *Hub) receive(m transport.Message) bool {
	var err error
	switch {
	case strings.HasPrefix(m.Topic, payloads.TwinAnswerPrefix):
		err = h.twin.heardAnswer(m)
	case strings.HasPrefix(m.Topic, payloads.DesiredPrefix):
		err = h.twin.heardPatch(m)
	case strings.HasPrefix(m.Topic, payloads.MethodPrefix):
		err = h.method(m)
	default:
		return h.command(m)
	}
	m.Ack()
	if err != nil {
		h.warn("the hub sent something that cannot be read, or not all of it", err)
	}
	return true
}
