package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

var errNotInstalled = errors.New("it is not installed")

// updating is a world whose device has a state Updating, in which it does the work, in a bubble. end is the record with
// which Updating was left, and when.
func updating(t *testing.T, change func(*machine.Settings), work func(context.Context, *machine.Device) error,
	meanwhile func(*testing.T, *world), want func(t *testing.T, end machine.Record, took time.Duration)) {
	t.Helper()
	bubble(t, func(s *machine.Settings) {
		s.Table = func(d *machine.Device, table machine.Table) machine.Table {
			return table.With([]machine.StateSpec{{Name: "Updating",
				Do: func(ctx context.Context, _ machine.Change) (machine.Event, error) {
					return d.WithSession(ctx, "updated", func(ctx context.Context) error { return work(ctx, d) })
				}}}, []machine.Transition{
				{From: machine.Connected, On: "update", To: "Updating"},
				{From: "Updating", On: "updated", To: machine.Connected},
				{From: "Updating", On: machine.Lost, To: machine.Failover},
				{From: "Updating", On: machine.Renew, To: machine.Connecting},
			})
		}
		if change != nil {
			change(s)
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		from := w.count()
		if err := w.device.Fire(t.Context(), "update"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		meanwhile(t, w)
		i := w.await("the end of Updating", from, func(r machine.Record) bool { return r.From == "Updating" })
		w.mu.Lock()
		end := w.records[i]
		w.mu.Unlock()
		want(t, end, end.Time.Sub(began))
		w.awaitState(machine.Connected, i)
		if err := w.device.Drained(t.Context()); err != nil {
			t.Error(err)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

// untilEnd is work that goes on until its context ends, and never uses the session.
func untilEnd(ctx context.Context, _ *machine.Device) error {
	<-ctx.Done()
	return ctx.Err()
}

// flushing is work that sends readings all the time.
func flushing(ctx context.Context, d *machine.Device) error {
	for {
		if _, err := d.Send(ctx, machine.Reading{Body: []byte("1")}); err != nil {
			return err
		}
		if err := d.Flush(ctx); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
}

func nothing(*testing.T, *world) {}

func TestAnAddedStateIsLeftWhenTheSessionEnds(t *testing.T) {
	for name, work := range map[string]func(context.Context, *machine.Device) error{
		"waiting": untilEnd, "flushing": flushing,
	} {
		t.Run(name, func(t *testing.T) {
			updating(t, nil, work, func(t *testing.T, w *world) {
				time.Sleep(10*time.Second + 500*time.Millisecond)
				if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
					t.Fatal(err)
				}
			}, func(t *testing.T, end machine.Record, took time.Duration) {
				if end.Event != string(machine.Lost) || end.Cause != "closed" ||
					took.Round(time.Second) > 12*time.Second {
					t.Errorf("it was left after %s by %s, %s", took, end.Event, end.Error)
				}
			})
		})
	}
}

func TestTheTokenIsRenewedInAnAddedState(t *testing.T) {
	for name, work := range map[string]func(context.Context, *machine.Device) error{
		"waiting": untilEnd, "flushing": flushing,
	} {
		t.Run(name, func(t *testing.T) {
			updating(t, func(s *machine.Settings) { s.Timing.TokenLife = 10 * time.Minute }, work, nothing,
				func(t *testing.T, end machine.Record, took time.Duration) {
					if end.Event != string(machine.Renew) || end.Error != "" || took < 7*time.Minute ||
						took > 9*time.Minute {
						t.Errorf("it was left after %s by %s, %s", took, end.Event, end.Error)
					}
				})
		})
	}
}

func TestAnOverdueAcknowledgementIsNoticedInAnAddedState(t *testing.T) {
	wantOverdue := func(t *testing.T, end machine.Record, took time.Duration) {
		if end.Event != string(machine.Lost) || end.Cause != "ack-overdue" || took < time.Minute ||
			took > 62*time.Second {
			t.Errorf("it was left after %s by %s, %s", took, end.Event, end.Error)
		}
	}
	muted := func(t *testing.T, w *world) {
		w.strike("A", emulator.NoPUBACK, emulator.Params{})
		time.Sleep(70 * time.Second)
		if err := w.cloud.Clear("A", emulator.NoPUBACK); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("of a reading that Flush sent", func(t *testing.T) { updating(t, nil, flushing, muted, wantOverdue) })
	t.Run("after a Flush that ended early", func(t *testing.T) {
		updating(t, nil, func(ctx context.Context, d *machine.Device) error {
			time.Sleep(time.Second) // until the hub is muted
			if _, err := d.Send(ctx, machine.Reading{Body: []byte("1")}); err != nil {
				return err
			}
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_ = d.Flush(short)
			return untilEnd(ctx, d)
		}, muted, wantOverdue)
	})
}

func TestTheEndOfTheWorkLeavesAnAddedState(t *testing.T) {
	for name, result := range map[string]error{"done": nil, "failed": errNotInstalled} {
		t.Run(name, func(t *testing.T) {
			updating(t, nil, func(ctx context.Context, d *machine.Device) error {
				time.Sleep(time.Minute)
				return result
			}, nothing, func(t *testing.T, end machine.Record, took time.Duration) {
				failed := end.Error == errNotInstalled.Error()
				if end.Event != "updated" || took != time.Minute || failed != (result != nil) {
					t.Errorf("it was left after %s by %s, %q", took, end.Event, end.Error)
				}
			})
		})
	}
}

// An update that has succeeded must not be repeated because the session ended at the same moment.
func TestWorkThatSucceededCountsAlthoughTheSessionHasEnded(t *testing.T) {
	updating(t, nil, func(ctx context.Context, d *machine.Device) error {
		<-ctx.Done()
		return nil
	}, func(t *testing.T, w *world) {
		if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, end machine.Record, _ time.Duration) {
		if end.Event != "updated" {
			t.Errorf("it was left by %s", end.Event)
		}
	})
}

func TestWithoutASessionAnAddedStateIsLeftAtOnce(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Table = func(d *machine.Device, table machine.Table) machine.Table {
			return table.Wrap(machine.Unprovisioned, func(machine.Action) machine.Action {
				return func(ctx context.Context, c machine.Change) (machine.Event, error) {
					event, err := d.WithSession(ctx, "done",
						func(context.Context) error { t.Error("it worked"); return nil })
					if event != machine.Lost || err == nil {
						t.Errorf("it returned %s, %v", event, err)
					}
					return machine.Register, nil
				}
			})
		}
	}, func(t *testing.T, w *world) { w.connected() })
}

func TestFlushEndsWithItsContextWhileAnotherIsBusy(t *testing.T) {
	updating(t, nil, func(ctx context.Context, d *machine.Device) error {
		time.Sleep(time.Second) // until the fault is active
		if _, err := d.Send(ctx, machine.Reading{Body: []byte("1")}); err != nil {
			return err
		}
		first := make(chan error, 1)
		go func() { first <- d.Flush(ctx) }()
		time.Sleep(time.Second)
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		began := time.Now()
		if err := d.Flush(short); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		return <-first
	}, func(t *testing.T, w *world) {
		w.strike("A", emulator.LatePUBACK, emulator.Params{Delay: 10 * time.Second})
		time.Sleep(20 * time.Second)
		w.cloud.Clear("A", emulator.LatePUBACK)
	}, func(t *testing.T, end machine.Record, _ time.Duration) {
		if end.Event != "updated" || end.Error != "" {
			t.Errorf("Updating was left with %+v", end)
		}
	})
}

// afterConnecting returns a table in which do is called when the hub has accepted the first session. do returns the
// event of Connecting.
func afterConnecting(table machine.Table, do func(context.Context) machine.Event) machine.Table {
	first := true
	return table.Wrap(machine.Connecting, func(connect machine.Action) machine.Action {
		return func(ctx context.Context, c machine.Change) (machine.Event, error) {
			event, err := connect(ctx, c)
			if event == machine.HubAccepted && first {
				first = false
				event = do(ctx)
			}
			return event, err
		}
	})
}

func TestFlushSendsWhatIsPendingInAStateBeforeConnected(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Table = func(d *machine.Device, table machine.Table) machine.Table {
			table = afterConnecting(table, func(context.Context) machine.Event { return "check" })
			return table.With([]machine.StateSpec{{Name: "Checking",
				Do: func(ctx context.Context, _ machine.Change) (machine.Event, error) {
					return d.WithSession(ctx, "checked", d.Flush)
				}}}, []machine.Transition{
				{From: machine.Connecting, On: "check", To: "Checking"},
				{From: "Checking", On: "checked", To: machine.Connected},
				{From: "Checking", On: machine.Lost, To: machine.Failover},
				{From: "Checking", On: machine.Renew, To: machine.Connecting},
			})
		}
	}, func(t *testing.T, w *world) {
		w.send()
		if err := w.device.Report(t.Context(), map[string]any{"battery": 80}); err != nil {
			t.Fatal(err)
		}
		w.live()
		i := w.await("the end of Checking", 0, func(r machine.Record) bool { return r.From == "Checking" })
		w.wantNothingLost()
		_, reported, _, _ := w.cloud.Twin(deviceID)
		w.mu.Lock()
		end := w.records[i]
		w.mu.Unlock()
		if end.Event != "checked" || end.Error != "" || reported["battery"] != 80.0 {
			t.Errorf("Checking ended with %s, %s; the twin has %v", end.Event, end.Error, reported)
		}
	})
}

func TestADeviceThatIsClosedAsSoonAsItsHubAcceptsItSendsWhatIsPending(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Table = func(d *machine.Device, table machine.Table) machine.Table {
			return afterConnecting(table, func(ctx context.Context) machine.Event {
				go d.Close(context.Background())
				<-ctx.Done()
				return machine.HubAccepted
			})
		}
	}, func(t *testing.T, w *world) {
		for range 3 {
			w.send()
		}
		w.live()
		err := <-w.ran
		w.ran <- err
		if err != nil {
			t.Errorf("run: %v", err)
		}
		w.wantNothingLost()
	})
}

func TestFlushOutsideAnAddedStateIsAnErrorAndDoesNoHarm(t *testing.T) {
	var device *machine.Device
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Method = func(ctx context.Context, _ string, _ json.RawMessage) (int, any, error) {
			return 200, nil, device.Flush(ctx)
		}
	}, func(t *testing.T, w *world) {
		device = w.device
		w.connected()
		for range 2 { // a second call shows that the first has left the handlers attached
			if status, answer := w.call("flush", ""); status != 500 || !strings.Contains(answer, "Drained waits") {
				t.Errorf("the method was answered with %d, %s", status, answer)
			}
		}
		stop := w.sending(time.Millisecond)
		var flushing sync.WaitGroup
		for range 4 {
			flushing.Go(func() {
				for range 1000 {
					_ = w.device.Flush(t.Context())
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
			t.Fatal(err)
		}
		w.awaitState(machine.Connected, w.awaitState(machine.Failover, 0))
		flushing.Wait()
		stop()
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
	})
}

func TestAFlushThatRunsOnEndsWhenTheAddedStateIsLeft(t *testing.T) {
	flushed := make(chan error, 1)
	updating(t, nil, func(ctx context.Context, d *machine.Device) error {
		time.Sleep(time.Second) // until the fault is active
		if _, err := d.Send(ctx, machine.Reading{Body: []byte("1")}); err != nil {
			return err
		}
		flushed = make(chan error, 1)
		go func() { flushed <- d.Flush(context.WithoutCancel(ctx)) }()
		time.Sleep(time.Second)
		return nil
	}, func(t *testing.T, w *world) {
		w.strike("A", emulator.LatePUBACK, emulator.Params{Delay: 10 * time.Second})
		time.Sleep(3 * time.Second)
		if err := w.cloud.Clear("A", emulator.LatePUBACK); err != nil {
			t.Fatal(err)
		}
		if err := <-flushed; err == nil || !strings.Contains(err.Error(), "only the Action") {
			t.Errorf("Flush returned %v", err)
		}
	}, func(t *testing.T, end machine.Record, took time.Duration) {
		if end.Event != "updated" || took.Round(time.Second) != 2*time.Second {
			t.Errorf("it was left after %s by %s, %s", took, end.Event, end.Error)
		}
	})
}
