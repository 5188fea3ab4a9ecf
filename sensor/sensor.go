// Package sensor is the sample device of the model failover.json: it measures temperature, humidity
// and a battery, and has the method echo, the command setAlarm and the property fanSpeed. It uses
// only the public API of package machine, and does not depend on states or hubs.
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
)

// ModelID is the DTDL model that the sensor follows.
const ModelID = "dtmi:Sample:Failover;1"

// A Sender is the part of machine.Device that the sensor uses to send.
type Sender interface {
	Send(context.Context, machine.Reading) (machine.ID, error)
	Report(context.Context, map[string]any) error
}

// A Sensor sends random measurements as readings and reported properties.
type Sensor struct {
	TelemetryInterval time.Duration // time between two readings. Zero means that the sensor sends no readings
	PropertyInterval  time.Duration // time between two reports of the battery. Zero means that there are no reports
	Warn              func(error)   // function that receives errors of readings, reports and commands; may be nil

	fanSpeed atomic.Int64
	alarm    atomic.Pointer[time.Time]
}

// Telemetry is the body of one reading. The fields are numbers in JSON, because IoT Central does
// not accept strings for values of the type double.
type Telemetry struct {
	Temp     float64 `json:"temp"`     // temperature in degrees Celsius
	Humidity float64 `json:"humidity"` // humidity in percent
}

// Run sends readings and reports through d until ctx ends, in any state of the device. It sends the first reading
// at once.
func (s *Sensor) Run(ctx context.Context, d Sender) {
	telemetry, stopTelemetry := ticks(s.TelemetryInterval)
	defer stopTelemetry()
	properties, stopProperties := ticks(s.PropertyInterval)
	defer stopProperties()
	var err error
	if s.TelemetryInterval > 0 {
		err = s.send(ctx, d)
	}
	for {
		if err != nil && ctx.Err() == nil {
			s.warn(fmt.Errorf("sensor: %w", err))
		}
		select {
		case <-telemetry:
			err = s.send(ctx, d)
		case <-properties:
			err = d.Report(ctx, map[string]any{"battery": around(80, 20)})
		case <-ctx.Done():
			return
		}
	}
}

func (s *Sensor) send(ctx context.Context, d Sender) error {
	body, err := json.Marshal(Telemetry{Temp: around(21, 4), Humidity: around(50, 10)})
	if err == nil {
		_, err = d.Send(ctx, machine.Reading{Body: body}) // without Taken: the device sets and corrects the time
	}
	return err
}

// ticks returns the channel of a ticker and the function that stops the ticker. If the interval is
// zero, the channel is nil and never receives.
func ticks(every time.Duration) (<-chan time.Time, func()) {
	if every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// around returns a random measurement with two decimals, at most width/2 away from middle.
func around(middle, width float64) float64 {
	return math.Round((middle+width*(rand.Float64()-0.5))*100) / 100
}

// Handlers returns the handlers of the method, the command and the property.
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

// command handles the command setAlarm. It returns nil also for a command that it cannot read, so
// that the device completes the message: the hub would only deliver the same message again.
func (s *Sensor) command(_ context.Context, m machine.Message) error {
	if m.Name != "setAlarm" {
		s.warn(fmt.Errorf("sensor: there is no command %q", m.Name))
		return nil
	}
	at, err := parseAlarm(m)
	if err != nil {
		s.warn(err)
		return nil
	}
	s.alarm.Store(&at)
	return nil
}

// parseAlarm reads the time in a command setAlarm. The DTDL type time is the full-time of RFC 3339,
// such as 08:30:00Z. parseAlarm also accepts a time with a date, and a time without an offset.
func parseAlarm(m machine.Message) (time.Time, error) {
	var text string
	parameter, _ := m.Parameter()        // after an error, such as for a body that is not UTF-8, parameter is nil
	_ = json.Unmarshal(parameter, &text) // text stays empty if the parameter is not a string
	for _, layout := range []string{"15:04:05Z07:00", time.RFC3339, "15:04:05", "15:04"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("sensor: setAlarm: the parameter must be a time such as 08:30:00Z")
}

// desired handles the desired property fanSpeed. The value null sets the speed of the fan to 0.
func (s *Sensor) desired(_ context.Context, p machine.PropertyName, value json.RawMessage) (machine.PropertyAck,
	error) {
	if p != (machine.PropertyName{Name: "fanSpeed"}) {
		return machine.PropertyAck{Code: 404}, fmt.Errorf("there is no property %q", p)
	}
	var speed int64
	if err := json.Unmarshal(value, &speed); err != nil {
		return machine.PropertyAck{Code: 400, Value: s.FanSpeed()}, errors.New("fanSpeed must be a whole number")
	}
	s.fanSpeed.Store(speed)
	return machine.PropertyAck{Value: speed, Description: "completed"}, nil
}

// FanSpeed returns the current speed of the fan.
func (s *Sensor) FanSpeed() int64 { return s.fanSpeed.Load() }

// Alarm returns the time of the alarm, and reports whether one is set.
func (s *Sensor) Alarm() (at time.Time, ok bool) {
	p := s.alarm.Load()
	if p == nil {
		return time.Time{}, false
	}
	return *p, true
}

func (s *Sensor) warn(err error) {
	if s.Warn != nil {
		s.Warn(err)
	}
}
