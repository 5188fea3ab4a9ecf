// Package sensor is the sample device: temperature, humidity and a battery, the method echo, the command setAlarm and
// the property fanSpeed, as failover.json models them. It is the first user of machine's API, and knows nothing of
// states or hubs.
package sensor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
)

// ModelID is the DTDL model that the sensor follows.
const ModelID = "dtmi:Sample:Failover;1"

// A Sender is what the sensor needs of a device.
type Sender interface {
	Send(context.Context, machine.Reading) (outbox.ID, error)
	Report(context.Context, map[string]any) error
}

// A Sensor takes readings. An interval of 0 switches them off.
type Sensor struct {
	TelemetryInterval time.Duration
	PropertyInterval  time.Duration
	Warn              func(error) // hears of readings that were not accepted; may be nil

	fanSpeed atomic.Int64
	alarm    atomic.Pointer[time.Time]
}

// Telemetry is the body of one reading. Numbers are JSON numbers: IoT Central takes a string for a double as an error.
type Telemetry struct {
	Temp     float64 `json:"temp"`     // degrees Celsius
	Humidity float64 `json:"humidity"` // percent
}

// Run takes readings until ctx ends, whatever state the device is in.
func (s *Sensor) Run(ctx context.Context, d Sender) {
	telemetry, stopTelemetry := ticks(s.TelemetryInterval)
	defer stopTelemetry()
	properties, stopProperties := ticks(s.PropertyInterval)
	defer stopProperties()
	for {
		var err error
		select {
		case <-telemetry:
			err = s.send(ctx, d)
		case <-properties:
			err = d.Report(ctx, map[string]any{"battery": around(80, 20)})
		case <-ctx.Done():
			return
		}
		if err != nil && ctx.Err() == nil {
			s.warn(fmt.Errorf("sensor: %w", err))
		}
	}
}

func (s *Sensor) send(ctx context.Context, d Sender) error {
	body, err := json.Marshal(Telemetry{Temp: around(21, 4), Humidity: around(50, 10)})
	if err != nil {
		return err
	}
	_, err = d.Send(ctx, machine.Reading{Body: body}) // the device dates it, and corrects that
	return err
}

// ticks is a ticker, or a channel that never ticks.
func ticks(every time.Duration) (<-chan time.Time, func()) {
	if every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// around is a made-up measurement with two decimals.
func around(middle, width float64) float64 {
	return math.Round((middle+width*(rand.Float64()-0.5))*100) / 100
}

// Handlers are what the sensor answers to the cloud.
func (s *Sensor) Handlers() machine.Handlers {
	return machine.Handlers{Method: s.method, Command: s.command, Desired: s.desired}
}

func (s *Sensor) method(_ context.Context, name string, payload json.RawMessage) (int, any, error) {
	if name != "echo" {
		return 404, nil, fmt.Errorf("there is no method %q", name)
	}
	if payload == nil {
		return 200, nil, nil
	}
	return 200, payload, nil
}

// command sets the alarm. An alarm that cannot be read is done with: it would not be readable the next time either.
func (s *Sensor) command(_ context.Context, m machine.Message) error {
	if m.Name != "setAlarm" {
		s.warn(fmt.Errorf("sensor: there is no command %q", m.Name))
		return nil
	}
	parameter, err := m.Parameter()
	var at time.Time
	if err == nil {
		at, err = parseAlarm(parameter)
	}
	if err != nil {
		s.warn(err)
		return nil
	}
	s.alarm.Store(&at)
	return nil
}

// parseAlarm reads DTDL's time, which is RFC 3339's full-time; a date before it and an offset left out do no harm.
func parseAlarm(parameter json.RawMessage) (time.Time, error) {
	var text string
	_ = json.Unmarshal(parameter, &text) // what is no string stays empty
	for _, layout := range []string{"15:04:05Z07:00", time.RFC3339, "15:04:05", "15:04"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("sensor: setAlarm: the time is not like 08:30:00Z")
}

// desired sets the fan's speed; null means off again.
func (s *Sensor) desired(_ context.Context, p machine.PropertyName, value json.RawMessage) (machine.PropertyAck, error) {
	if p != (machine.PropertyName{Name: "fanSpeed"}) {
		return machine.PropertyAck{Code: 404}, fmt.Errorf("there is no property %q", p)
	}
	var speed int64
	if err := json.Unmarshal(value, &speed); err != nil {
		return machine.PropertyAck{Code: 400, Value: s.FanSpeed()}, errors.New("fanSpeed is a whole number")
	}
	s.fanSpeed.Store(speed)
	return machine.PropertyAck{Value: speed, Description: "completed"}, nil
}

// FanSpeed is the speed in force.
func (s *Sensor) FanSpeed() int64 { return s.fanSpeed.Load() }

// Alarm is when the alarm will sound; ok tells whether one is set.
func (s *Sensor) Alarm() (at time.Time, ok bool) {
	if p := s.alarm.Load(); p != nil {
		return *p, true
	}
	return time.Time{}, false
}

func (s *Sensor) warn(err error) {
	if s.Warn != nil {
		s.Warn(err)
	}
}
