package sensor_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/sensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector is a device that accepts everything, or nothing.
type collector struct {
	readings []machine.Reading
	reports  []map[string]any
	refusal  error
}

func (c *collector) Send(_ context.Context, r machine.Reading) (outbox.ID, error) {
	c.readings = append(c.readings, r)
	return outbox.ID{}, c.refusal
}

func (c *collector) Report(_ context.Context, patch map[string]any) error {
	c.reports = append(c.reports, patch)
	return c.refusal
}

func TestReadingIsSentAtEachIntervalAndFollowsTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c collector
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Second)
		defer cancel()
		(&sensor.Sensor{TelemetryInterval: 5 * time.Second, PropertyInterval: 15 * time.Second}).Run(ctx, &c)
		if len(c.readings) != 13 || len(c.reports) != 4 {
			t.Fatalf("%d readings and %d reports in a minute", len(c.readings), len(c.reports))
		}
		follows(t, "Telemetry", c.readings[0].Body)
		if at := c.readings[0].Taken; !at.IsZero() {
			t.Errorf("it is dated %v, which the device could not correct once its clock is set", at)
		}
		report, _ := json.Marshal(c.reports[0])
		follows(t, "Property", report)
	})
}

func TestSensorWarnsOfAReadingThatWasNotAcceptedAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector{refusal: outbox.ErrFull}
		var warnings []error
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Second)
		defer cancel()
		s := &sensor.Sensor{TelemetryInterval: 10 * time.Second, PropertyInterval: 30 * time.Second,
			Warn: func(err error) { warnings = append(warnings, err) }}
		s.Run(ctx, &c)
		if len(c.readings) != 7 || len(c.reports) != 2 || len(warnings) != 9 ||
			!errors.Is(warnings[0], outbox.ErrFull) {
			t.Errorf("%d readings, %d reports, %v", len(c.readings), len(c.reports), warnings)
		}
	})
}

func TestFirstReadingIsSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c collector
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		(&sensor.Sensor{TelemetryInterval: time.Hour}).Run(ctx, &c)
		if len(c.readings) != 1 {
			t.Errorf("%d readings in the first second", len(c.readings))
		}
	})
}

func TestIntervalOfZeroTakesNoReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c collector
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		(&sensor.Sensor{}).Run(ctx, &c)
		if len(c.readings)+len(c.reports) != 0 {
			t.Errorf("%d readings and %d reports", len(c.readings), len(c.reports))
		}
	})
}

// follows checks a body against failover.json: each name is there under this type, as a double.
func follows(t *testing.T, kind string, body []byte) {
	t.Helper()
	text, err := os.ReadFile("../failover.json")
	if err != nil {
		t.Fatal(err)
	}
	var model struct {
		ID       string `json:"@id"`
		Contents []struct {
			Type   string `json:"@type"`
			Name   string
			Schema string
		}
	}
	if err := json.Unmarshal(text, &model); err != nil {
		t.Fatal(err)
	}
	if model.ID != sensor.ModelID {
		t.Errorf("the model is %s", model.ID)
	}
	var doubles []string
	for _, c := range model.Contents {
		if c.Type == kind && c.Schema == "double" {
			doubles = append(doubles, c.Name)
		}
	}
	var values map[string]any
	if err := json.Unmarshal(body, &values); err != nil || len(values) != len(doubles) {
		t.Errorf("%s: %v, want %v", body, err, doubles)
	}
	for name, v := range values {
		if _, number := v.(float64); !number || !slices.Contains(doubles, name) {
			t.Errorf("%s: %s is not a double of the model", body, name)
		}
	}
}

func TestEchoReturnsItsPayloadAndOtherMethodsAreUnknown(t *testing.T) {
	method := (&sensor.Sensor{}).Handlers().Method
	for payload, want := range map[string]string{`"hello"`: `"hello"`, `{"a": 1}`: `{"a": 1}`, `null`: `null`} {
		status, answer, err := method(t.Context(), "echo", json.RawMessage(payload))
		if raw, _ := answer.(json.RawMessage); status != 200 || string(raw) != want || err != nil {
			t.Errorf("echo %s: %d %s %v", payload, status, answer, err)
		}
	}
	if status, answer, err := method(t.Context(), "echo", nil); status != 200 || answer != nil || err != nil {
		t.Errorf("echo of nothing: %d %v %v", status, answer, err)
	}
	if status, _, err := method(t.Context(), "reboot", nil); status != 404 || err == nil {
		t.Errorf("an unknown method: %d %v", status, err)
	}
}

func TestSetAlarmSetsTheAlarmAndCompletesBadCommands(t *testing.T) {
	warned := 0
	s := &sensor.Sensor{Warn: func(error) { warned++ }}
	for _, m := range []machine.Message{
		{Name: "setAlarm", Body: []byte("@")}, {Name: "setAlarm", Body: []byte("soon")}, {Name: "dance"}, {},
	} {
		if err := s.Handlers().Command(t.Context(), m); err != nil {
			t.Errorf("%+v would come again and again: %v", m, err)
		}
	}
	if _, set := s.Alarm(); set || warned != 4 {
		t.Errorf("alarm set: %t, warned %d times", set, warned)
	}
	for _, body := range []string{"08:30:00Z", `"08:30:00Z"`, "08:30", "2026-01-31T08:30:00Z"} {
		if err := s.Handlers().Command(t.Context(), machine.Message{Name: "setAlarm", Body: []byte(body)}); err != nil {
			t.Error(err)
		}
		if at, set := s.Alarm(); !set || at.Hour() != 8 || at.Minute() != 30 {
			t.Errorf("%s sets %v", body, at)
		}
	}
}

func TestFanSpeedIsSetOrRefusedWithTheSpeedInForce(t *testing.T) {
	s := &sensor.Sensor{}
	for _, c := range []struct {
		component, name, value string
		code                   int
		speed                  int64
	}{
		{"", "fanSpeed", "3", 0, 3}, {"", "fanSpeed", "2.5", 400, 3}, {"", "fanSpeed", `"4"`, 400, 3},
		{"", "colour", "1", 404, 3},
		{"oven", "fanSpeed", "5", 404, 3}, {"", "fanSpeed", "null", 0, 0},
	} {
		ack, err := s.Handlers().Desired(t.Context(), machine.PropertyName{Component: c.component, Name: c.name},
			json.RawMessage(c.value))
		if ack.Code != c.code || (err != nil) != (c.code >= 400) || s.FanSpeed() != c.speed {
			t.Errorf("%s = %s: %+v, %v, speed %d", c.name, c.value, ack, err, s.FanSpeed())
		}
	}
}
