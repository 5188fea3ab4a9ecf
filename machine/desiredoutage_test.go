package machine_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

func TestAHangingPropertyDoesNotStopMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var running atomic.Int32
		w := newWorld(t, true, emulator.Config{}, func(s *machine.Settings) {
			s.Handlers.Desired = func(context.Context, machine.PropertyName, json.RawMessage) (machine.PropertyAck,
				error) {
				running.Add(1)
				<-release
				return machine.PropertyAck{}, nil
			}
			s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) {
				return 200, nil,
					nil
			}
		})
		w.connected()
		for i := range 70 {
			w.cloud.SetDesired(deviceID, map[string]any{"fanSpeed": i})
			time.Sleep(31 * time.Second)
		}
		if status, body := w.call("quick", ""); status != 200 {
			t.Errorf("a method: %d %s", status, body)
		}
		if running := running.Load(); running > 1 {
			t.Errorf("%d handlers of one property run at once", running)
		}
		close(release)
		w.close()
	})
}

type myError struct{ text string }

func (e *myError) Error() string { return e.text }

func TestAHandlerThatReturnsATypedNilError(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) {
			var err *myError
			return 200, nil, err
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		if status, _ := w.call("x", ""); status != 500 {
			t.Errorf("status %d", status)
		}
	})
}

// A hub may answer some twin requests and not others: its desired values are handled nevertheless.
func TestADesiredPropertyDoesNotWaitForReportsThatFail(t *testing.T) {
	for _, fault := range []emulator.Fault{emulator.TwinMute, emulator.TwinThrottles, emulator.TwinError} {
		heard := make(chan string, 100)
		bubble(t, func(s *machine.Settings) {
			s.Handlers.Desired = func(
				_ context.Context, _ machine.PropertyName, value json.RawMessage,
			) (machine.PropertyAck, error) {
				heard <- string(value)
				return machine.PropertyAck{}, nil
			}
		}, func(t *testing.T, w *world) {
			w.connected()
			if err := w.cloud.Inject("A", fault, emulator.Params{}); err != nil {
				t.Fatal(err)
			}
			if err := w.device.Report(t.Context(), map[string]any{"fanSpeed": 0}); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				time.Sleep(7 * time.Second)
				if err := w.cloud.SetDesired(deviceID, map[string]any{"fanSpeed": 1}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if n := len(heard); n != 1 {
					t.Fatalf("%s: %d desired values were received", fault, n)
				}
				<-heard
			}
		})
	}
}
