package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A world is a cloud with the SDK's device.
type world struct {
	*emulator.Cloud
	device *device
}

// until waits for a condition of the cloud.
func (w world) until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.Wait(ctx, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// ready waits until the device is connected to a hub and has subscribed to all its topics.
func (w world) ready(t *testing.T, hub string) {
	t.Helper()
	w.until(t, "the device at hub "+hub, func() bool {
		return w.Connected(deviceID, hub) && len(w.Subscriptions(deviceID, hub)) == 4
	})
}

// reported reports whether a reported property has a value; JSON numbers are float64.
func (w world) reported(name string, value any) bool {
	_, reported, _, _ := w.Twin(deviceID)
	return reflect.DeepEqual(reported[name], value)
}

// here reports whether a hub has received a reading since.
func (w world) here(since int, hub string) bool {
	return slices.ContainsFunc(w.Ledger()[since:], func(r emulator.Delivery) bool { return r.Hub == hub })
}

// onAddresses starts a cloud whose hubs have no port in their names, as the real ones. A machine
// has room for one such cloud.
func onAddresses(t *testing.T, config emulator.Config) *emulator.Cloud {
	t.Helper()
	config.OwnAddresses = true
	cloud, err := emulator.Start(config)
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EACCES) {
		t.Skip("this needs 127.0.0.1:8883, 127.0.0.2:8883 and 127.0.0.3:8883: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cloud.Close() })
	return cloud
}

func onPorts(t *testing.T, config emulator.Config) *emulator.Cloud {
	t.Helper()
	return emulator.ForTest(t, config)
}

// wantReadings checks the first readings of one run: each has its number in its ID and in its body.
func wantReadings(t *testing.T, readings []emulator.Delivery) {
	t.Helper()
	run, _, _ := strings.Cut(readings[0].MessageID, "-")
	for i, r := range readings {
		var body struct {
			N              int
			Temp, Humidity float64
		}
		err := json.Unmarshal(r.Body, &body)
		if err != nil || r.MessageID != fmt.Sprintf("%s-%d", run, i+1) || body.N != i+1 || body.Temp < 20 ||
			body.Humidity < 40 {
			t.Errorf("reading %d is %q, %s", i+1, r.MessageID, r.Body)
		}
		if r.Properties["$.ct"] != "application/json" || r.Properties["$.ce"] != "utf-8" || r.Hub != "A" ||
			r.Duplicate {
			t.Errorf("reading %d came as %+v", i+1, r)
		}
	}
}

func (w world) setFan(t *testing.T, speed float64) {
	t.Helper()
	if err := w.SetDesired(deviceID, map[string]any{"fanSpeed": speed}); err != nil {
		t.Fatal(err)
	}
}

// wantFan wants the desired property acknowledged with its value and version.
func (w world) wantFan(t *testing.T, speed float64) {
	t.Helper()
	w.until(t, "the answer to a desired property", func() bool {
		_, _, version, _ := w.Twin(deviceID)
		return w.reported("fanSpeed",
			map[string]any{"value": speed, "ac": 200.0, "ad": "completed", "av": float64(version)})
	})
}

func (w world) wantEcho(t *testing.T) {
	t.Helper()
	const payload = `{"text":"a b+c&d=é%","n":[1,null]}`
	status, body, err := w.InvokeMethod(t.Context(), deviceID, "echo", []byte(payload))
	if status != 200 || string(body) != payload || err != nil {
		t.Errorf("echo: %d %s %v", status, body, err)
	}
}

// wantAlarm sends the command, and wants it completed.
func (w world) wantAlarm(t *testing.T, parameter string) {
	t.Helper()
	if err := w.SendCommand(deviceID, "setAlarm", []byte(parameter)); err != nil {
		t.Fatal(err)
	}
	w.until(t, "the command is completed", func() bool { return w.QueueLength(deviceID) == 0 })
}

// wantSeen wants the parameters of the commands that the device has received. The SDK completes a
// command before it shows it.
func (w world) wantSeen(t *testing.T, parameters ...string) {
	t.Helper()
	var seen []string
	for _, h := range w.device.happenings(t, "command") {
		seen = append(seen, h.Parameter)
	}
	if !slices.Equal(seen, parameters) {
		t.Errorf("the received commands have the parameters %q, want %q", seen, parameters)
	}
}
