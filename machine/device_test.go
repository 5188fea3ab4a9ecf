package machine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/settings"
)

// bubble is a test with a cloud and a device over memory and in fake time. change may adjust the device's settings.
func bubble(t *testing.T, change func(*machine.Settings), test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true, emulator.Config{}, change)
		test(t, w)
	})
}

// A journal is what handlers were called with.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) add(entry string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// connected starts the device and waits until it has subscribed and read its twin.
func (w *world) connected() {
	w.t.Helper()
	w.live()
	w.awaitState(machine.Connected, 0)
	synctest.Wait()
}

func (w *world) call(name, payload string) (int, string) {
	w.t.Helper()
	status, body, err := w.cloud.InvokeMethod(context.Background(), deviceID, name, []byte(payload))
	if err != nil {
		w.t.Errorf("method %s: %v", name, err)
	}
	return status, string(body)
}

func TestAMethodIsAnsweredByItsHandler(t *testing.T) {
	handlers := machine.Handlers{Method: func(_ context.Context, name string, payload json.RawMessage) (int, any,
		error) {
		switch name {
		case "echo":
			return 0, payload, nil
		case "none":
			return 204, nil, nil
		case "bad":
			return 0, nil, errors.New("it broke")
		case "panic":
			panic("it fell")
		case "unsendable":
			return 200, func() {}, nil
		}
		return 404, nil, fmt.Errorf("there is no method %q", name)
	}}
	bubble(t, func(s *machine.Settings) { s.Handlers = handlers }, func(t *testing.T, w *world) {
		w.connected()
		for _, c := range []struct {
			name, payload string
			status        int
			body          string
		}{
			{"echo", `{"a": [1, null]}`, 200, `{"a": [1, null]}`},
			{"echo", `null`, 200, `null`},
			{"none", ``, 204, ``},
			{"bad", ``, 500, `{"message":"it broke"}`},
			{"panic", ``, 500, `{"message":"the handler panicked: it fell"}`},
			{"other", ``, 404, `{"message":"there is no method \"other\""}`},
		} {
			if status, body := w.call(c.name, c.payload); status != c.status || body != c.body {
				t.Errorf("%s(%s): %d %s, want %d %s", c.name, c.payload, status, body, c.status, c.body)
			}
		}
		if status, _ := w.call("unsendable", ""); status != 500 {
			t.Errorf("an answer that is not JSON: %d", status)
		}
		w.wantPath(0, machine.Provisioning, machine.Connecting, machine.Connected)
	})
}

func TestAHandlerThatNeverReturnsDelaysNothingAndIsNamedAtTheEnd(t *testing.T) {
	release := make(chan struct{})
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Timeout = 20 * time.Second // the caller waits for 30
		s.Handlers.Method = func(_ context.Context, name string, _ json.RawMessage) (int, any, error) {
			if name == "hang" {
				<-release
			}
			return 200, nil, nil
		}
	}, func(t *testing.T, w *world) {
		release = make(chan struct{}) // of this bubble
		w.connected()
		if status, body := w.call("hang", ""); status != 500 || !strings.Contains(body, "in time") {
			t.Errorf("the caller hears %d %s", status, body)
		}
		if status, _ := w.call("quick", ""); status != 200 {
			t.Errorf("another method: %d", status)
		}
		from := w.count()
		if err := w.cloud.KillHub("A", emulator.RST, emulator.WithMove); err != nil {
			t.Fatal(err)
		}
		w.awaitState(machine.Connected, from)
		w.wantPath(from, fromADeadHub...)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		w.device.Close(ctx)
		if err := <-w.ran; err == nil || !strings.Contains(err.Error(), "method hang") {
			t.Errorf("the handler is not named: %v", err)
		}
		w.ran <- nil
		close(release)
	})
}

func TestACommandIsCompletedOnlyAfterItsHandlerHasSucceeded(t *testing.T) {
	handled := &journal{}
	var fail atomic.Bool
	fail.Store(true)
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Command = func(_ context.Context, m machine.Message) error {
			handled.add(m.Name)
			if fail.Load() {
				return errors.New("not now")
			}
			return nil
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		if err := w.cloud.SendCommand(deviceID, "setAlarm", []byte(`"08:00:00Z"`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := w.cloud.QueueLength(deviceID); n != 1 || len(handled.all()) != 1 {
			t.Fatalf("%d wait in the hub, handled %v", n, handled.all())
		}
		fail.Store(false)
		time.Sleep(61 * time.Second) // the hub's lock runs out
		synctest.Wait()
		if n := w.cloud.QueueLength(deviceID); n != 0 || len(handled.all()) != 2 {
			t.Errorf("%d wait in the hub, handled %v", n, handled.all())
		}
	})
}

func TestACommandSentDuringAnOutageIsHandledAtTheOtherHub(t *testing.T) {
	handled := &journal{}
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Command = func(_ context.Context, m machine.Message) error {
			handled.add(m.Name)
			return nil
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		from := w.count()
		w.cloud.KillHub("A", emulator.FIN, emulator.WithMove)
		if err := w.cloud.SendCommand(deviceID, "setAlarm", nil); err != nil {
			t.Fatal(err)
		}
		w.awaitState(machine.Connected, from)
		synctest.Wait()
		if !slices.Equal(handled.all(), []string{"setAlarm"}) || w.cloud.QueueLength(deviceID) != 0 {
			t.Errorf("handled %v", handled.all())
		}
	})
}

func TestEveryDesiredPropertyIsAcknowledged(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Desired = func(
			_ context.Context, key machine.PropertyName, value json.RawMessage,
		) (machine.PropertyAck, error) {
			switch key.String() {
			case "fanSpeed", "thermostat*target":
				return machine.PropertyAck{Description: "done"}, nil
			case "limited":
				return machine.PropertyAck{Value: 10, Code: 400}, errors.New("at most 10")
			case "broken":
				panic("no fan")
			}
			return machine.PropertyAck{Code: 404}, errors.New("unknown")
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		err := w.cloud.SetDesired(deviceID, map[string]any{
			"fanSpeed": 3, "limited": 99, "broken": true, "what": map[string]any{"is": "this"},
			"thermostat": map[string]any{"__t": "c", "target": 21.5},
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_, reported, version, _ := w.cloud.Twin(deviceID)
		version++ // desired's, as the acknowledgements must have it
		got, _ := json.Marshal(reported)
		version--
		want := fmt.Sprintf(`{"broken":{"ac":500,"ad":"the handler panicked: no fan","av":%[1]d,"value":true},`+
			`"fanSpeed":{"ac":200,"ad":"done","av":%[1]d,"value":3},`+
			`"limited":{"ac":400,"ad":"at most 10","av":%[1]d,"value":10},`+
			`"thermostat":{"__t":"c","target":{"ac":200,"ad":"done","av":%[1]d,"value":21.5}},`+
			`"what":{"ac":404,"ad":"unknown","av":%[1]d,"value":{"is":"this"}}}`, version)
		if string(got) != want {
			t.Errorf("reported\n%s, want\n%s", got, want)
		}
	})
}

func TestDesiredValuesOfAnOutageAreHandledOnceAfterIt(t *testing.T) {
	handled := &journal{}
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Desired = func(
			_ context.Context, key machine.PropertyName, value json.RawMessage,
		) (machine.PropertyAck, error) {
			handled.add(key.String() + "=" + string(value))
			return machine.PropertyAck{}, nil
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		w.cloud.SetDesired(deviceID, map[string]any{"kept": 1})
		synctest.Wait()
		w.cloud.SetDesired(deviceID, map[string]any{"withdrawn": 1})
		synctest.Wait()
		from := w.count()
		w.cloud.KillHub("A", emulator.FIN, emulator.WithMove)
		w.cloud.SetDesired(deviceID, map[string]any{"fanSpeed": 2})
		w.cloud.SetDesired(deviceID, map[string]any{"fanSpeed": 3, "withdrawn": nil})
		w.awaitState(machine.Connected, from)
		synctest.Wait()
		if want := []string{"kept=1", "withdrawn=1", "fanSpeed=3", "withdrawn=null"}; !sameInAnyOrder(handled.all(),
			want) {
			t.Errorf("handled %v, want %v", handled.all(), want)
		}
	})
}

// sameInAnyOrder is for handlers of different properties, which run at the same time.
func sameInAnyOrder(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func TestReportsMadeDuringAnOutageAreMergedAndSentOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		_, _, _, before := w.cloud.Twin(deviceID)
		from := w.count()
		w.cloud.KillHub("A", emulator.FIN, emulator.WithMove)
		w.awaitState(machine.Failover, from)
		for i := range 100 {
			if err := w.device.Report(t.Context(),
				map[string]any{"battery": i, fmt.Sprint("cell", i%3): i}); err != nil {
				t.Fatal(err)
			}
		}
		w.awaitState(machine.Connected, from)
		synctest.Wait()
		_, reported, _, after := w.cloud.Twin(deviceID)
		if got := fmt.Sprint(reported); got != "map[battery:99 cell0:99 cell1:97 cell2:98]" || after != before+1 {
			t.Errorf("%s after %d patches", got, after-before)
		}
	})
}

func TestAReportThatNoHubWouldTakeIsRefusedAtOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		for name, patch := range map[string]map[string]any{
			"a key with a dot": {"a.b": 1}, "too large": {"a": strings.Repeat("x", 5000)}, "no JSON": {"a": func() {}},
		} {
			if err := w.device.Report(t.Context(), patch); err == nil {
				t.Errorf("%s was accepted", name)
			}
		}
		w.connected()
		w.device.Report(t.Context(), map[string]any{"good": true})
		synctest.Wait()
		if _, reported, _, _ := w.cloud.Twin(deviceID); fmt.Sprint(reported) != "map[good:true]" {
			t.Errorf("reported %v", reported)
		}
	})
}

func TestHandlersAreAttachedOnlyWhileConnected(t *testing.T) {
	calls := 0
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) {
			calls++
			return 0, nil,
				nil
		}
		s.Table = func(_ *machine.Device, table machine.Table) machine.Table {
			return table.With([]machine.StateSpec{{Name: "Resting"}}, []machine.Transition{
				{
					From: machine.Connected, On: "rest", To: "Resting"},
				{From: "Resting", On: "go", To: machine.Connected},
			})
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		if err := w.device.Fire(t.Context(), "rest"); err != nil {
			t.Fatal(err)
		}
		answered := make(chan int, 1)
		go func() {
			status, _, _ := w.cloud.InvokeMethod(t.Context(), deviceID, "echo", nil)
			answered <- status
		}()
		synctest.Wait()
		if calls != 0 {
			t.Error("a handler was called outside Connected")
		}
		if err := w.device.Fire(t.Context(), "go"); err != nil {
			t.Fatal(err)
		}
		if status := <-answered; status != 200 || calls != 1 {
			t.Errorf("what was held is answered with %d after %d calls", status, calls)
		}
		if n := w.cloud.Connects(deviceID, "A"); n != 1 {
			t.Errorf("%d connects: the session was not kept", n)
		}
	})
}

func TestAnIllegalEventFromOutsideIsAnErrorAndARecord(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		if err := w.device.Fire(t.Context(), machine.Assigned); !errors.Is(err, machine.ErrIllegalEvent) {
			t.Errorf("fire: %v", err)
		}
		w.await("a record of it", 0, func(r machine.Record) bool {
			return r.Kind == observe.IllegalEvent && r.State == string(machine.Connected) &&
				r.Event == string(machine.Assigned)
		})
	})
}

func TestEachKindCanBeSwitchedOff(t *testing.T) {
	all := map[hub.Kinds]string{
		hub.Methods: "$iothub/methods/POST/#", hub.Desired: "$iothub/twin/PATCH/properties/desired/#",
		hub.Commands: "devices/dev1/messages/devicebound/#",
	}
	handlers := machine.Handlers{Command: func(context.Context, machine.Message) error { return nil }}
	for kind, filter := range all {
		bubble(t, func(s *machine.Settings) { s.Handlers = handlers }, func(t *testing.T, w *world) {
			w.connected()
			if got := w.cloud.Subscriptions(deviceID, "A"); !slices.Contains(got, filter) {
				t.Fatalf("switched on, %s is not among %v", filter, got)
			}
			w.close()
			// The same device again, with the kind switched off: the hub still has the old session.
			again := w.again(func(s *machine.Settings) { s.Handlers, s.Off = handlers, kind })
			again.connected()
			if got := w.cloud.Subscriptions(deviceID, "A"); slices.Contains(got, filter) || len(got) != 3 {
				t.Errorf("switched off, %s: %v", filter, got)
			}
		})
	}
	bubble(t, func(s *machine.Settings) { s.Off = hub.Telemetry | hub.Reported }, func(t *testing.T, w *world) {
		w.connected()
		if _, err := w.device.Send(t.Context(), machine.Reading{Body: []byte("1")}); !errors.Is(err,
			machine.ErrSwitchedOff) {
			t.Errorf("send: %v", err)
		}
		if err := w.device.Report(t.Context(), map[string]any{"a": 1}); !errors.Is(err, machine.ErrSwitchedOff) {
			t.Errorf("report: %v", err)
		}
	})
}

func TestARestartWithAGoodCacheMakesNoDPSCall(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(s *machine.Settings) { s.Storage.StateDir = dir }, func(t *testing.T, w *world) {
		w.connected()
		w.close()
		w.cloud.StopDPS()
		again := w.again(func(s *machine.Settings) { s.Storage.StateDir = dir })
		again.connected()
		again.wantPath(0, machine.Connecting, machine.Connected)
		if n := w.cloud.Registrations(deviceID); n != 1 {
			t.Errorf("%d registrations", n)
		}
	})
}

func TestADamagedCacheIsSetAsideAndAnUnwritableOneIsAWarning(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "assignment.json")
	if err := os.WriteFile(file, []byte(`{"assignedHub":`), 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(s *machine.Settings) { s.Storage.StateDir = dir }, func(t *testing.T, w *world) {
		w.connected()
		w.wantPath(0, machine.Provisioning, machine.Connecting, machine.Connected)
		w.await("a warning", 0, func(r machine.Record) bool {
			return r.Kind == observe.Warning && strings.Contains(r.Error, "was renamed to")
		})
		if kept, _ := os.ReadFile(file + ".damaged"); string(kept) != `{"assignedHub":` {
			t.Errorf("set aside: %q", kept)
		}
	})
	bubble(t, func(s *machine.Settings) { s.Storage.StateDir = filepath.Join(file, "under") },
		func(t *testing.T, w *world) {
			w.connected()
			w.await("a warning", 0, func(r machine.Record) bool {
				return r.Kind == observe.Warning && strings.Contains(r.Error, "store the assignment")
			})
		})
}

func TestARefusedDeviceWaitsAndRecordsWhyAndUntilWhen(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Identity.Key = machine.DeviceKey("bm90IHRoaXMgZGV2aWNlJ3Mga2V5IGF0IGFsbA==")
	}, func(t *testing.T, w *world) {
		w.live()
		i := w.await("the rest", 0, func(r machine.Record) bool { return r.Kind == observe.Waiting })
		w.mu.Lock()
		r := w.records[i]
		w.mu.Unlock()
		if rest := time.Until(r.Next); r.State != string(machine.Unprovisioned) || r.Cause != "dps-refused" ||
			!strings.Contains(r.Error, "check") || rest < 25*time.Second || rest > time.Minute {
			t.Errorf("it rests for %v: %+v", rest, r)
		}
		w.send() // is kept all the same
		time.Sleep(time.Hour)
		if n := len(w.path(0)); n > 40 {
			t.Errorf("%d transitions in an hour", n)
		}
		var lost *machine.LostError
		if err := w.close(); !errors.As(err, &lost) || lost.Left != 1 {
			t.Errorf("run: %v", err)
		}
	})
}

func TestWithoutDPSTheDeviceRetriesItsHubAndLosesNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		from := w.count()
		w.cloud.StopDPS()
		w.cloud.KillHub("A", emulator.RST)
		stop := w.sending(time.Second)
		time.Sleep(10 * time.Minute)
		if n := len(w.path(from)); n < 20 || n > 200 {
			t.Errorf("%d transitions in ten minutes", n)
		}
		w.cloud.ReviveHub("A")
		w.delivered("A", from)
		stop()
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantOutcome(from, observe.Reconnected, "A", "A")
		w.wantNothingLost()
	})
}

func TestATokenIsRenewedByAPlannedReconnect(t *testing.T) {
	bubble(t, func(s *machine.Settings) { s.Timing.TokenLife = time.Minute }, func(t *testing.T, w *world) {
		w.connected()
		stop := w.sending(100 * time.Millisecond)
		time.Sleep(10 * time.Minute)
		stop()
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
		for _, r := range w.records {
			if r.Kind == observe.Transition && r.To == string(machine.Failover) || r.Kind == observe.Outcome {
				t.Errorf("a renewal is no fault: %+v", r)
			}
		}
		if n := w.cloud.Connects(deviceID, "A"); n < 11 || n > 14 {
			t.Errorf("%d connects in ten token lives", n)
		}
	})
}

func TestCloseSendsPendingReadingsAndCountsTheOthers(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		for range 500 {
			w.send()
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
		if _, err := w.device.Send(t.Context(), machine.Reading{Body: []byte("1")}); !errors.Is(err, outbox.ErrClosed) {
			t.Errorf("send after the end: %v", err)
		}
		w.close() // once more does no harm
	})
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		from := w.count()
		w.cloud.StopDPS()
		w.cloud.KillHub("A", emulator.FIN)
		w.awaitState(machine.Failover, from)
		w.send()
		w.send()
		var lost *machine.LostError
		if err := w.close(); !errors.As(err, &lost) || lost.Left != 2 {
			t.Errorf("run: %v", err)
		}
	})
}

func TestNoDebugKeepsTheRecordsOfEachReadingFromObservers(t *testing.T) {
	for _, without := range []bool{false, true} {
		bubble(t, func(s *machine.Settings) { s.NoDebug = without }, func(t *testing.T, w *world) {
			w.connected()
			w.send()
			if err := w.close(); err != nil {
				t.Error(err)
			}
			w.wantNothingLost()
			w.wantPath(0, machine.Provisioning, machine.Connecting, machine.Connected, machine.Closing)
			heard := 0
			for _, r := range w.records {
				if r.Level == observe.Debug {
					heard++
				}
			}
			if want := map[bool]int{false: 2, true: 0}[without]; heard != want { // taken and delivered
				t.Errorf("NoDebug %t: %d records of level debug", without, heard)
			}
		})
	}
}

func TestCloseEndsInTimeWhateverHangs(t *testing.T) {
	release := make(chan struct{})
	bubble(t, func(s *machine.Settings) {
		release = make(chan struct{})
		s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) {
			<-release
			return 0,
				nil, nil
		}
		s.Observers = append(s.Observers, func(r machine.Record) {
			if r.To == string(machine.Closing) {
				<-release
			}
		})
	}, func(t *testing.T, w *world) {
		w.connected()
		go w.cloud.InvokeMethod(context.Background(), deviceID, "hang", nil)
		synctest.Wait()
		begin := time.Now()
		if err := w.close(); err == nil || !strings.Contains(err.Error(), "observer") ||
			!strings.Contains(err.Error(), "hang") {
			t.Errorf("what hangs is not named: %v", err)
		}
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("close took %v", took)
		}
		close(release)
	})
}

func TestAReadingThatNoHubWouldTakeIsRefusedAtSend(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		var large *payloads.TooLargeError
		body := bytes.Repeat([]byte("1"), payloads.MaxMessageBytes)
		if _, err := w.device.Send(t.Context(), machine.Reading{Body: body}); !errors.As(err, &large) {
			t.Errorf("too large: %v", err)
		}
		for name, r := range map[string]machine.Reading{
			"no JSON":       {Body: []byte("hello")},
			"our property":  {Body: []byte("1"), Properties: map[string]string{hub.BacklogProperty: "live"}},
			"our other one": {Body: []byte("1"), Properties: map[string]string{hub.ClockProperty: "right"}},
		} {
			if _, err := w.device.Send(t.Context(), r); err == nil {
				t.Errorf("%s was accepted", name)
			}
		}
		w.send()
		w.connected()
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
	})
}

func TestTheBacklogFollowsItsPaceAndLiveReadingsGoFirst(t *testing.T) {
	bubble(t, func(s *machine.Settings) { s.Delivery.Unpaced = false }, func(t *testing.T, w *world) {
		for range 100 {
			w.send()
		}
		w.connected()
		begin := time.Now()
		w.send() // live
		synctest.Wait()
		ledger := w.cloud.Ledger()
		last := ledger[len(ledger)-1]
		if !strings.HasSuffix(last.MessageID, "-101") || last.Properties[hub.BacklogProperty] != "" {
			t.Errorf("the newest reading waits; the last to arrive is %s %v", last.MessageID, last.Properties)
		}
		for len(w.cloud.Ledger()) < 101 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begin); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("a backlog of 100 took %v at 10 a second", took)
		}
		for _, d := range w.cloud.Ledger() {
			if live := strings.HasSuffix(d.MessageID,
				"-101"); live == (d.Properties[hub.BacklogProperty] == "backlog") {
				t.Errorf("%s is marked %v", d.MessageID, d.Properties)
			}
		}
	})
}

func TestADeviceRunsOnceAndOneThatNeverRanCloses(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		if err := w.device.Close(t.Context()); err != nil {
			t.Errorf("close before run: %v", err)
		}
		w.live()
		if err := w.close(); err != nil {
			t.Errorf("a device that was closed before it ran ends at once: %v", err)
		}
		if err := w.device.Run(t.Context()); err == nil {
			t.Error("it ran twice")
		}
	})
}

func TestFireReturnsWhenTheDeviceIsClosedBeforeItRuns(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		fired := make(chan error, 2)
		go func() { fired <- w.device.Fire(context.Background(), machine.Renew) }()
		synctest.Wait()
		if err := w.device.Close(t.Context()); err != nil {
			t.Error(err)
		}
		fired <- w.device.Fire(context.Background(), machine.Renew)
		for range 2 {
			if err := <-fired; !errors.Is(err, machine.ErrEnded) {
				t.Errorf("Fire returned %v", err)
			}
		}
	})
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	_, err := machine.New(machine.Settings{
		Identity: machine.Identity{ProvisioningHost: "https://dps", RegistrationID: "dev 1"},
		Storage:  machine.Storage{SyncEvery: -1, Limits: machine.Limits{Readings: -1}},
		Delivery: machine.Delivery{Window: 1 << 20},
		Handlers: machine.Handlers{Timeout: -1},
		Timing:   machine.Timing{TokenLife: time.Second, CloseTimeout: -1},
		Policy:   machine.Policy{FirstRest: -1},
	})
	want := []string{
		"Identity.ProvisioningHost", "Identity.IDScope", "Identity.RegistrationID", "Identity.Key",
		"Storage.StateDir", "Storage.SyncEvery", "Storage.Limits.Readings", "Delivery.Window", "Handlers.Timeout",
		"Timing.CloseTimeout", "Timing.TokenLife", "Policy.FirstRest",
	}
	var got []string
	for _, wrong := range settings.All(err) {
		got = append(got, wrong.Field)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the error names %q, want %q: %v", got, want, err)
	}
}

// A program that wants to lose its readings with the process has to say so.
func TestNewRefusesSettingsThatDoNotSayWhereReadingsAreKept(t *testing.T) {
	s := idle("")
	_, err := machine.New(s)
	for _, way := range []string{"Storage.StateDir", "Storage.InMemory"} {
		if err == nil || !strings.Contains(err.Error(), way) {
			t.Errorf("the error does not name %s: %v", way, err)
		}
	}
	for _, storage := range []machine.Storage{
		{InMemory: true}, {StateDir: t.TempDir()}, {StateDir: t.TempDir(), InMemory: true},
	} {
		s.Storage = storage
		d, err := machine.New(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestTheDefaultsAreThoseOfTheGroups(t *testing.T) {
	s := machine.Settings{}.WithDefaults()
	if s.Delivery.Window != 64 || s.Handlers.Timeout != 30*time.Second || s.Timing.CloseTimeout != 5*time.Second ||
		s.Timing.TokenLife != time.Hour || s.Policy.Hold != 20*time.Second || s.Identity.ModelKey != "modelId" ||
		s.Rand == nil || s.Link.Now == nil {
		t.Errorf("the defaults are %+v", s)
	}
}

func TestNewRefusesATableWithAStateThatCloseCannotLeave(t *testing.T) {
	s := idle(t.TempDir())
	s.Table = func(_ *machine.Device, table machine.Table) machine.Table {
		return table.With(nil, []machine.Transition{{From: machine.Closing, On: "again", To: machine.Unprovisioned}})
	}
	if _, err := machine.New(s); err == nil || !strings.Contains(err.Error(), `state Closing has no row for "close"`) {
		t.Errorf("the error is %v", err)
	}
	s.Table = nil
	d, err := machine.New(s) // the state directory was given back
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewGivesTheStateDirectoryBackIfTheProgramsTablePanics(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		dir := t.TempDir()
		s := w.settings(func(s *machine.Settings) { s.Storage = machine.Storage{StateDir: dir} })
		s.Table = func(*machine.Device, machine.Table) machine.Table { panic("no table") }
		func() {
			defer func() {
				if reason := recover(); reason != "no table" {
					t.Errorf("New panicked with %v", reason)
				}
			}()
			_, _ = machine.New(s)
		}()
		s.Table = nil
		d, err := machine.New(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
		w.live()
	})
}
