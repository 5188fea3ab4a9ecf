package emulator_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// mustFailOver fails the device over manually.
func (w world) mustFailOver(ttl time.Duration) emulator.ManualMove {
	w.Helper()
	m, err := w.ManualFailover(device, ttl)
	if err != nil {
		w.Fatal(err)
	}
	return m
}

func (w world) wantHub(name string) {
	w.Helper()
	synctest.Wait()
	if got := w.HubOf(device); got != name {
		w.Errorf("%v: the device is at hub %q, want %q", time.Now(), got, name)
	}
}

func TestAManuallyFailedOverDeviceReturnsByItself(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		began := time.Now()
		m := w.mustFailOver(5 * time.Minute)
		if m.Left != "A" || m.Joined != "B" || !m.Return.Equal(began.Add(5*time.Minute)) {
			t.Errorf("it says %+v", m)
		}
		p.mustLose(time.Second)
		if code := w.refusal(login{hub: "A"}); code != 5 {
			t.Errorf("CONNACK at A is %d", code)
		}
		p = w.mustConnect(login{hub: "B"})
		time.Sleep(5*time.Minute - time.Since(began) - 1)
		w.wantHub("B")
		time.Sleep(time.Nanosecond)
		w.wantHub("A")
		p.mustLose(time.Second)
		if code := w.refusal(login{hub: "B"}); code != 5 {
			t.Errorf("CONNACK at B is %d", code)
		}
		w.mustConnect(login{hub: "A"})
		w.wantNoViolation()
	})
}

func TestAManualFailbackEndsTheFailover(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		w.mustFailOver(time.Minute)
		if m, err := w.ManualFailback(device); m.Left != "B" || m.Joined != "A" || !m.Return.IsZero() || err != nil {
			t.Errorf("it says %+v, %v", m, err)
		}
		w.wantHub("A")

		time.Sleep(30 * time.Second) // the timer of the first failover must not end the second
		w.mustFailOver(time.Minute)
		time.Sleep(45 * time.Second)
		w.wantHub("B")
		time.Sleep(15 * time.Second)
		w.wantHub("A")
	})
}

func TestAnyOtherMoveEndsAManualFailover(t *testing.T) {
	for what, move := range map[string]func(w world) error{
		"an operator moves it": func(w world) error { return w.MoveDevice(device, "C") },
		"its hub dies":         func(w world) error { return w.KillHub("B", emulator.FIN, emulator.WithMove) },
		"the lizard moves it": func(w world) error {
			return w.Inject(device, emulator.Moved,
				emulator.Params{Hub: "C"})
		},
		"it is deleted and comes": func(w world) error {
			return errors.Join(w.DeleteDevice(device),
				w.Assign(device, "C"))
		},
	} {
		inBubble(t, emulator.Config{Hubs: []string{"A", "B", "C"}}, func(t *testing.T, w world) {
			w.Assign(device, "A")
			w.mustFailOver(time.Minute)
			if err := move(w); err != nil {
				t.Fatal(err)
			}
			w.wantHub("C")
			time.Sleep(time.Hour)
			w.wantHub("C")
			if _, err := w.ManualFailback(device); !errors.Is(err, emulator.ErrNotFailedOver) {
				t.Errorf("%s: failing back says %v", what, err)
			}
		})
	}
}

func TestAnImpossibleManualMoveIsAnError(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		want := func(why error, move func() (emulator.ManualMove, error)) {
			t.Helper()
			if m, err := move(); !errors.Is(err, why) || m != (emulator.ManualMove{}) {
				t.Errorf("%+v, %v; want %v", m, err, why)
			}
		}
		over := func() (emulator.ManualMove, error) { return w.ManualFailover(device, time.Minute) }
		back := func() (emulator.ManualMove, error) { return w.ManualFailback(device) }
		want(emulator.ErrUnknownDevice, over)
		want(emulator.ErrUnknownDevice, back)
		w.Enroll(device, "")
		want(emulator.ErrNotProvisioned, over)
		w.Assign(device, "A")
		want(emulator.ErrNotFailedOver, back)
		if _, err := w.ManualFailover(device, 0); err == nil {
			t.Error("it has failed over for no time")
		}
		w.mustFailOver(time.Minute)
		want(emulator.ErrFailedOver, over)
		w.wantHub("B")
		w.Close()
		w.ManualFailback(device)
		want(emulator.ErrClosed, over)
	})
	inBubble(t, emulator.Config{Hubs: []string{"A"}}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		if _, err := w.ManualFailover(device, time.Minute); !errors.Is(err, emulator.ErrOneHub) {
			t.Errorf("with one hub it says %v", err)
		}
	})
}
