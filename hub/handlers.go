package hub

import (
	"context"
	"encoding/json"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
)

// Handlers are the program's code. Each call has a goroutine of its own, so a handler may take its
// time and even hang: nothing else waits for it. The ctx of a call ends at the Timeout and when the
// device closes. A panic of a handler counts as an error. The caller and the log get the text of an
// error, with [key] in the place of the device's key.
type Handlers struct {
	// Method handles a direct method. payload is the caller's, byte for byte, and nil if there is
	// none. The status is one of HTTP's; zero means 200, or 500 with an error. The answer is
	// marshalled to JSON; a json.RawMessage is sent as it is. If Method is nil, every method is
	// answered with 404.
	Method func(ctx context.Context, name string, payload json.RawMessage) (status int, answer any, err error)
	// Command handles a cloud-to-device message. The message is completed when Command returns nil,
	// even after the Timeout. After an error the hub delivers it again. A message with an ID is not
	// handled again while it is among the last 256 that were completed, even if the hub delivers it
	// again, unless the process was killed just after Command had returned. If Command is nil, the
	// device does not subscribe to messages.
	Command func(ctx context.Context, m payloads.Message) error
	// Desired handles a desired property of a component or of the device itself, and returns its
	// acknowledgement. value is the whole value, even if only a part of an object has changed, and
	// null if the property was removed. Desired is called again when the value is changed or set
	// again, and after a restart, but not because an earlier call failed. If Desired is nil, every
	// property is acknowledged with 404.
	Desired func(ctx context.Context, property payloads.PropertyName, value json.RawMessage) (PropertyAck, error)
	// Timeout bounds each call. Zero means 30 s.
	Timeout time.Duration
}

// A PropertyAck is what a device says of a desired property. The zero PropertyAck means 200, with
// the desired value. If the handler returns an error too, the text of the error becomes the
// Description, and a Code below 400 becomes 500. A long Description is cut off. A value that no hub
// accepts, or that JSON would change, is left out, and the Description says so.
type PropertyAck struct {
	Value       any // the value in force; nil means the desired value
	Code        int // 200 done, 202 in progress, 203 set by the device itself, 4xx refused; zero means 200
	Description string
}

// handled returns the record of the result of a handler's call.
func handled(name string, status int, err error) observe.Record {
	r := observe.Record{Level: observe.Info, Kind: observe.Handled, Name: name, Status: status}
	if err != nil {
		r.Level, r.Error = observe.Warn, err.Error()
	}
	return r
}
