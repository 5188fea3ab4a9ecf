package machine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/transport"
)

// A running device has read its settings, so an assignment to one would have no effect and be a data race.
func TestADeviceHasNoFieldsThatAProgramCouldSet(t *testing.T) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[machine.Device]()) {
		if f.IsExported() {
			t.Errorf("Device.%s is exported", f.Name)
		}
	}
}

func TestGroupKeyIsTheKeyThatIsDerivedFromTheGroups(t *testing.T) {
	got, err := machine.GroupKey(emulator.DevelopmentGroupKey, deviceID)()
	if err != nil {
		t.Fatal(err)
	}
	group, err := machine.ParseKey(emulator.DevelopmentGroupKey)
	if err != nil {
		t.Fatal(err)
	}
	own, err := machine.DeviceKey(emulator.DevelopmentGroupKey)()
	if err != nil {
		t.Fatal(err)
	}
	token := func(key machine.Key) string { return transport.SAS("hub/devices/"+deviceID, "", key, time.Unix(1, 0)) }
	if token(got) != token(group.Derive(deviceID)) || token(own) != token(group) {
		t.Error("the keys sign differently")
	}
}

func TestATextThatIsNoKeyIsNotQuoted(t *testing.T) {
	for name, source := range map[string]machine.KeySource{
		"device": machine.DeviceKey("not base64!"), "group": machine.GroupKey("not base64!", deviceID),
	} {
		_, err := source()
		if !errors.As(err, new(*machine.KeyError)) || strings.Contains(err.Error(), "not base64!") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

func TestDrainedReturnsWhenEveryReadingIsAcknowledged(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		w.strike("A", emulator.LatePUBACK, emulator.Params{Delay: 30 * time.Second})
		w.send()
		began := time.Now()
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := w.device.Drained(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it returned %v", err)
		}
		if err := w.device.Drained(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("it returned after %s", took)
		}
		synctest.Wait() // observers may be a little late
		if w.acknowledged() != 1 {
			t.Error("the reading is not acknowledged")
		}
	})
}

func TestDrainedReturnsWhenTheDeviceWillNotSendWhatIsPending(t *testing.T) {
	dir := t.TempDir()
	durable := func(s *machine.Settings) { s.Storage.StateDir = dir }
	bubble(t, durable, func(t *testing.T, w *world) {
		w.send()
		drained := make(chan error, 1)
		go func() { drained <- w.device.Drained(context.Background()) }()
		synctest.Wait()
		if err := w.device.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-drained; !errors.Is(err, machine.ErrEnded) {
			t.Errorf("when the device ended, Drained returned %v", err)
		}
		off := w.again(func(s *machine.Settings) { durable(s); s.Off = machine.Telemetry })
		off.connected()
		if err := off.device.Drained(context.Background()); !errors.Is(err, machine.ErrSwitchedOff) {
			t.Errorf("with telemetry switched off, Drained returned %v", err)
		}
		if err := off.close(); err != nil {
			t.Error(err)
		}
		on := w.again(durable)
		on.connected()
		if err := on.device.Drained(context.Background()); err != nil {
			t.Error(err)
		}
		if err := on.close(); err != nil {
			t.Error(err)
		}
		if err := on.device.Drained(context.Background()); err != nil {
			t.Errorf("with nothing pending at the end, Drained returned %v", err)
		}
	})
}

func TestADevicePrintsTheStatesThatTheProgramHasAdded(t *testing.T) {
	s := idle(t.TempDir())
	s.Table = func(_ *machine.Device, table machine.Table) machine.Table {
		return table.With([]machine.StateSpec{{Name: "Updating", Doc: "Installs an update."}}, []machine.Transition{
			{From: machine.Connected, On: "update", To: "Updating", Doc: "the method was called"},
			{From: "Updating", On: "updated", To: machine.Connected, Doc: "it is installed"},
		})
	}
	d, err := machine.New(s)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(t.Context())
	text, err := d.Markdown()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| Updating | Installs an update. |", "| Connected | update | Updating | the method was called |",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the document lacks %q", line)
		}
	}
	if strings.Contains(text, "go generate") {
		t.Error("the document says that it is written by our generator")
	}
	diagram, err := d.Mermaid()
	if err != nil || !strings.HasPrefix(diagram, "stateDiagram") ||
		!strings.Contains(diagram, "Connected --> Updating: update") {
		t.Errorf("the diagram is %s, %v", diagram, err)
	}
	ours, err := os.ReadFile("../docs/states.md")
	if err != nil || strings.Contains(string(ours), "Updating") {
		t.Errorf("the device's own document has the state, too: %v", err)
	}
}

// The observer panics on each record, so a warning for each panic would never end.
func TestAnObserverThatPanicsIsNamedOnceAndTheDeviceGoesOn(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Observers = append(s.Observers, func(r machine.Record) { panic("no disk for the log") })
	}, func(t *testing.T, w *world) {
		w.connected()
		w.send()
		time.Sleep(time.Minute)
		if said := w.warnings("panicked"); said != "machine: observer 1 panicked: no disk for the log; "+
			"it still receives records, but further panics are not named\n" {
			t.Errorf("the records say %q", said)
		}
		if w.wantNothingLost(); w.acknowledged() != 1 {
			t.Error("the device does not go on")
		}
	})
}

func TestAKeySourceThatPanicsIsNamedAndTheDeviceGoesOn(t *testing.T) {
	var none []machine.Key
	for want, fault := range map[string]func(){
		"index out of range [3] with length 0": func() { _ = none[3] },
		"panicked with a *fmt.wrapError": func() {
			panic(fmt.Errorf("key %s: %w", canaryDevice,
				errNotInstalled))
		},
	} {
		t.Run(want, func(t *testing.T) {
			bubble(t, func(s *machine.Settings) {
				good, asked := s.Identity.Key, 0
				s.Identity.Key = func() (machine.Key, error) {
					if asked++; asked < 3 {
						fault()
					}
					return good()
				}
			}, func(t *testing.T, w *world) {
				w.connected()
				said := w.said()
				if !strings.Contains(said, want) || strings.Contains(said, canaryDevice) {
					t.Errorf("it says\n%s", said)
				}
			})
		})
	}
}

func TestAWarningWithoutAnErrorIsIgnored(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.device.Warn(nil)
		w.device.Warn(errNotInstalled)
		w.connected()
		if said := w.warnings(""); said != errNotInstalled.Error()+"\n" {
			t.Errorf("the records say %q", said)
		}
	})
}

func TestANilObserverIsIgnored(t *testing.T) {
	bubble(t, func(s *machine.Settings) { s.Observers = append(s.Observers, nil) }, func(t *testing.T, w *world) {
		w.connected()
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}
