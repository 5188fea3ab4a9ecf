package hub

import (
	"encoding/json"
	"errors"
	"fmt"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
)

// acknowledgement is the answer to a wish, as its handler gave it, and what went wrong.
func acknowledgement(w wish, a PropertyAck, err error) (payloads.PropertyAck, error) {
	sent := payloads.PropertyAck{Value: w.Value, Code: a.Code, Description: a.Description}
	if value, ok := a.Value.(json.RawMessage); ok {
		sent.Value = value
	}
	switch {
	case sent.Code == 0:
		sent.Code = 200
	case sent.Code < 100 || sent.Code > 599:
		err = errors.Join(err, fmt.Errorf("the handler answered with %d, which is no status", sent.Code))
	}
	if err != nil {
		if sent.Code < 400 || sent.Code > 599 {
			sent.Code = 500
		}
		sent.Description = err.Error()
	}
	return sent.ForVersion(w.version), err
}

// acknowledged records an acknowledgement; it is sent with the reported properties.
func (h *Hub) acknowledged(key payloads.PropertyName, a payloads.PropertyAck, err error) {
	r := observe.Record{Level: observe.Info, Kind: observe.Handled, Name: "desired " + key.String(), Status: a.Code}
	if err != nil {
		r.Level, r.Error = observe.Warn, err.Error()
	}
	h.Emit(r)
}
