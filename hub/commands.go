package hub

import (
	"context"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// command gives a cloud-to-device message to its handler and completes it (PUBACK) when that has succeeded. Otherwise
// the hub delivers it again when its lock has run out, or on the next session. It stays with the hub, not with us,
// while the pool is full or nobody handles commands.
func (h *Hub) command(m transport.Message) bool {
	message, err := payloads.ParseMessage(h.device, m.Topic, m.Payload)
	if err != nil {
		h.warn("the hub sent something that cannot be read", err)
		m.Ack() // it will not be readable next time
		return true
	}
	if h.Handlers.Command == nil {
		return true
	}
	name := "command " + message.Name
	if message.Name == "" {
		name = "message " + message.ID
	}
	err = invoke(h.pool, poolLimit, name, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.Handlers.Command(ctx, message)
	}, func(_ struct{}, err error) {
		record := observe.Record{Level: observe.Info, Kind: observe.Handled, Name: name, ID: message.ID, Status: 200}
		if err == nil {
			m.Ack()
		} else {
			record.Level, record.Status, record.Error = observe.Warn, 500, err.Error()
		}
		h.Emit(record)
	}, nil)
	if err != nil {
		h.warn("a cloud-to-device message was left to the hub", err)
	}
	return true
}
