package machine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// A worker is a command handler: it notes each call and returns when finish or fail says so, or at once if it is quick.
type worker struct {
	journal
	results chan error // nil: quick
}

func (k *worker) command(_ context.Context, m machine.Message) error {
	k.add(fmt.Sprint(m.ID, " ", string(m.Body)))
	if k.results == nil {
		return nil
	}
	return <-k.results
}

// end has the handler that runs return.
func (k *worker) end(err error) {
	k.results <- err
	synctest.Wait()
}

// working is a world whose device handles commands by a worker, slowly or at once.
func working(t *testing.T, slow bool, change func(*machine.Settings), test func(*testing.T, *world, *worker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &worker{}
		if slow {
			k.results = make(chan error)
		}
		w := newWorld(t, true, emulator.Config{}, func(s *machine.Settings) {
			s.Handlers.Timeout = time.Hour
			s.Handlers.Command = k.command
			if change != nil {
				change(s)
			}
		})
		w.connected()
		test(t, w, k)
	})
}

// order sends a cloud-to-device message and waits until the device is busy with it.
func (w *world) order(id, body string) {
	w.t.Helper()
	if err := w.cloud.SendMessage(deviceID, emulator.Message{ID: id, Body: []byte(body)}); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// statuses are those of the commands that were handled.
func (w *world) statuses() (statuses []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		if r.Kind == observe.Handled && r.ID != "" {
			statuses = append(statuses, r.Status)
		}
	}
	return statuses
}

// wantHandled compares the handler's calls and what the records say of them with what is wanted, and how many
// messages the hub still has.
func (w *world) wantHandled(k *worker, calls []string, statuses []int, queued int) {
	w.t.Helper()
	if got := k.all(); !slices.Equal(got, calls) {
		w.t.Errorf("the handler was called with %q, want %q", got, calls)
	}
	if got := w.statuses(); !slices.Equal(got, statuses) {
		w.t.Errorf("the records say %d, want %d", got, statuses)
	}
	if n := w.cloud.QueueLength(deviceID); n != queued {
		w.t.Errorf("%d messages wait in the hub, want %d", n, queued)
	}
}

func TestAMessageThatComesTwiceOnOneSessionIsHandledOnce(t *testing.T) {
	for _, slow := range []bool{false, true} {
		working(t, slow, nil, func(t *testing.T, w *world, k *worker) {
			w.strike("A", emulator.DuplicateMessage, emulator.Params{})
			w.order("m1", "x")
			if slow {
				w.wantHandled(k, []string{"m1 x"}, nil, 1)
				k.end(nil)
			}
			w.wantHandled(k, []string{"m1 x"}, []int{200, observe.AlreadyCompleted}, 0)
			i := w.await("a record", 0, func(r machine.Record) bool { return r.Status == observe.AlreadyCompleted })
			if text := w.records[i].Message; text != "message m1 was done before" {
				t.Errorf("an operator reads %q", text)
			}
			time.Sleep(10 * time.Minute)
			w.wantHandled(k, []string{"m1 x"}, []int{200, observe.AlreadyCompleted}, 0)
		})
	}
}

func TestAMessageThatComesAgainWhenItsLockRunsOutIsHandledOnceAndCompleted(t *testing.T) {
	working(t, true, nil, func(t *testing.T, w *world, k *worker) {
		w.order("m1", "x")
		time.Sleep(150 * time.Second) // the lock is a minute
		k.end(nil)
		w.wantHandled(k, []string{"m1 x"}, []int{200, 208, 208}, 0)
	})
	// A handler that has its deadline behind it is told of, and may still succeed.
	working(t, true, func(s *machine.Settings) { s.Handlers.Timeout = 30 * time.Second },
		func(t *testing.T, w *world, k *worker) {
			w.order("m1", "x")
			time.Sleep(90 * time.Second)
			w.wantHandled(k, []string{"m1 x"}, []int{500}, 1)
			k.end(nil)
			w.wantHandled(k, []string{"m1 x"}, []int{500, 200, 208}, 0)
		})
}

func TestAMessageThatComesAgainAtTheOtherHubWhileItsHandlerRunsIsHandledOnce(t *testing.T) {
	working(t, true, nil, func(t *testing.T, w *world, k *worker) {
		w.order("m1", "x")
		w.overToB()
		w.wantHandled(k, []string{"m1 x"}, nil, 1)
		k.end(nil)
		w.wantHandled(k, []string{"m1 x"}, []int{200, 208}, 0)
	})
	working(t, true, nil, func(t *testing.T, w *world, k *worker) {
		w.order("m1", "x")
		w.overToB()
		k.end(errors.New("not now"))
		w.wantHandled(k, []string{"m1 x"}, []int{500}, 1)
		time.Sleep(61 * time.Second)
		w.wantHandled(k, []string{"m1 x", "m1 x"}, []int{500}, 1)
		k.end(nil)
		w.wantHandled(k, []string{"m1 x", "m1 x"}, []int{500, 200}, 0)
	})
}

func TestAMessageWhosePUBACKIsLostInAFailoverIsCompletedAtTheOtherHub(t *testing.T) {
	working(t, true, nil, func(t *testing.T, w *world, k *worker) {
		w.order("m1", "x")
		from := w.count()
		w.cloud.KillHub("A", emulator.FIN, emulator.WithMove)
		w.awaitState(machine.Provisioning, from)
		k.end(nil)
		w.wantHandled(k, []string{"m1 x"}, []int{200}, 1)
		w.awaitState(machine.Connected, from)
		synctest.Wait()
		w.wantHandled(k, []string{"m1 x"}, []int{200, 208}, 0)
	})
}

// overToB moves the device to hub B by a failover.
func (w *world) overToB() {
	w.t.Helper()
	from := w.count()
	if err := w.cloud.KillHub("A", emulator.FIN, emulator.WithMove); err != nil {
		w.t.Fatal(err)
	}
	w.awaitState(machine.Connected, from)
	synctest.Wait()
}

// Two restarts in a directory, after a message was handled and its PUBACK lost.
func TestARestartHandlesAMessageAgainOnlyIfItsCompletionWasNotStored(t *testing.T) {
	damage := func(t *testing.T, file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		between func(t *testing.T, file string)
		again   bool // it is handled
		warning string
	}{
		"it knows":            {func(*testing.T, string) {}, false, ""},
		"the file is gone":    {func(_ *testing.T, file string) { os.Remove(file) }, true, ""},
		"the file is damaged": {damage, true, "commands.json.damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "commands.json")
			working(t, true, func(s *machine.Settings) { s.Storage.StateDir = dir },
				func(t *testing.T, w *world, k *worker) {
					w.loseThePUBACK(k)
					c.between(t, file)
					next := &worker{}
					again := w.again(func(s *machine.Settings) {
						s.Storage.StateDir, s.Handlers.Command = dir,
							next.command
					})
					again.connected()
					if !c.again {
						again.wantHandled(next, nil, []int{208}, 0)
					} else {
						again.wantHandled(next, []string{"m1 x"}, []int{200}, 0)
					}
					if warned := again.warnings("was renamed to"); (warned != "") != (c.warning != "") ||
						!strings.Contains(warned, c.warning) {
						t.Errorf("it warns %q", warned)
					}
					again.close()
					w.strike("A", emulator.DuplicateMessage, emulator.Params{})
					last := w.again(func(s *machine.Settings) {
						s.Storage.StateDir, s.Handlers.Command = dir,
							next.command
					})
					last.connected()
					w.order("m1", "x") // as if it had come to the hub twice
					last.wantHandled(&worker{}, nil, []int{208, 208}, 0)
				})
		})
	}
}

// loseThePUBACK has the message m1 handled while the hub is away, ends the device and brings the hub back.
func (w *world) loseThePUBACK(k *worker) {
	w.t.Helper()
	w.order("m1", "x")
	from := w.count()
	if err := w.cloud.KillHub("A", emulator.FIN); err != nil {
		w.t.Fatal(err)
	}
	w.awaitState(machine.Failover, from)
	k.end(nil)
	w.close()
	if err := w.cloud.ReviveHub("A"); err != nil {
		w.t.Fatal(err)
	}
	w.wantHandled(k, []string{"m1 x"}, []int{200}, 1)
}

// warnings are the errors of those warnings that contain a text.
func (w *world) warnings(text string) (all string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		if r.Kind == observe.Warning && strings.Contains(r.Error, text) {
			all += r.Error + "\n"
		}
	}
	return all
}

func TestAMessageWhoseHandlerEndsWithTheDeviceIsRemembered(t *testing.T) {
	dir := t.TempDir()
	working(t, true, func(s *machine.Settings) { s.Storage.StateDir = dir }, func(t *testing.T, w *world, k *worker) {
		w.order("m1", "x")
		from := w.count()
		closed := make(chan error)
		go func() { closed <- w.device.Close(t.Context()) }()
		w.awaitState(machine.Closing, from)
		synctest.Wait() // for the handler, without a session
		k.end(nil)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		next := &worker{}
		again := w.again(func(s *machine.Settings) { s.Storage.StateDir, s.Handlers.Command = dir, next.command })
		again.connected()
		again.wantHandled(next, nil, []int{208}, 0)
	})
}

func TestMessagesAreHandledOnceAlthoughNothingCanBeStored(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a-file") // below which nobody can write, not even root
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	working(t, false, func(s *machine.Settings) { s.Storage.StateDir = filepath.Join(file, "state") },
		func(t *testing.T, w *world, k *worker) {
			w.strike("A", emulator.DuplicateMessage, emulator.Params{})
			w.order("m1", "x")
			w.wantHandled(k, []string{"m1 x"}, []int{200, 208}, 0)
			if text := w.warnings("store the completed messages"); !strings.Contains(text,
				"make the state directory writable") {
				t.Errorf("it warns %q", text)
			}
			w.overToB()
			w.order("m1", "x")
			w.wantHandled(k, []string{"m1 x"}, []int{200, 208, 208}, 0)
		})
}

func TestMessagesThatDifferOrHaveNoIDAreAllHandled(t *testing.T) {
	working(t, false, nil, func(t *testing.T, w *world, k *worker) {
		for _, m := range []string{"m1 x", "m1 y", " x", " x"} {
			id, body, _ := strings.Cut(m, " ")
			w.order(id, body)
		}
		w.overToB()
		w.order("m1", "y")
		w.wantHandled(k, []string{"m1 x", "m1 y", " x", " x"}, []int{200, 200, 208}, 0)
	})
}

func TestEachMessageOfALongOutageIsHandledOnce(t *testing.T) {
	dir := t.TempDir()
	working(t, false, func(s *machine.Settings) { s.Storage.StateDir = dir }, func(t *testing.T, w *world, k *worker) {
		w.strike("B", emulator.DuplicateMessage, emulator.Params{})
		from := w.count()
		w.cloud.KillHub("A", emulator.FIN, emulator.WithMove)
		var want []string
		for i := range 50 {
			want = append(want, fmt.Sprintf("m%d x", i))
			if err := w.cloud.SendMessage(deviceID,
				emulator.Message{ID: fmt.Sprint("m", i), Body: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
		w.awaitState(machine.Connected, from)
		synctest.Wait()
		got := k.all()
		if !sameInAnyOrder(got, want) || len(w.statuses()) != 100 || w.cloud.QueueLength(deviceID) != 0 {
			t.Errorf("handled %q; %d wait in the hub", got, w.cloud.QueueLength(deviceID))
		}
	})
}
