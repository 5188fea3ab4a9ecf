package machine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/statefile"
)

// refused makes a device that is expected to be refused, and returns the error.
func refused(t *testing.T, w *world, change func(*machine.Settings)) string {
	t.Helper()
	d, err := machine.New(w.settings(change))
	if err == nil {
		t.Error("the device was made")
		_ = d.Close(t.Context())
		return ""
	}
	return err.Error()
}

// pendingFor is a state directory in which three readings are pending, and files of a device if it has a name.
func pendingFor(t *testing.T, who string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "st")
	box, err := outbox.Open(filepath.Join(dir, "outbox"), outbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := box.Put(t.Context(), payloads.Reading{Body: []byte("1")}, outbox.Stamp{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := box.Close(); err != nil {
		t.Fatal(err)
	}
	if who != "" {
		if err := statefile.At(filepath.Join(dir,
			"device.json")).Save(map[string]string{"registrationId": who}); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestNothingPendingIsOpenedWithoutTheLock(t *testing.T) {
	dir := pendingFor(t, deviceID)
	if err := os.Mkdir(filepath.Join(dir, "lock"), 0o700); err != nil { // no file, so it cannot be locked
		t.Fatal(err)
	}
	bubble(t, nil, func(t *testing.T, w *world) {
		if err := refused(t, w, in(dir)); !strings.Contains(err, "with locks") || !strings.Contains(err, "in memory") {
			t.Errorf("it says %q", err)
		}
	})
	inMemory := func(s *machine.Settings) { s.Storage.StateDir, s.Storage.InMemory = dir, true }
	bubble(t, inMemory, func(t *testing.T, w *world) { // which is the way out that the error names
		w.connected()
		w.send()
		if err := w.close(); err != nil {
			t.Error(err)
		}
		if w.warnings("nothing is kept there") == "" || w.warnings("pending") != "" {
			t.Errorf("it warns %q", w.warnings(""))
		}
	})
	if n := waitingIn(t, dir); n != 3 {
		t.Errorf("%d readings are pending, want 3", n)
	}
}

func TestPendingReadingsAreSentOnlyInTheNameOfTheirDevice(t *testing.T) {
	assigned := func(t *testing.T, dir, who string) {
		cache := provisioning.Cache{
			File:     statefile.At(filepath.Join(dir, "assignment.json")),
			Identity: provisioning.Identity{ProvisioningHost: "dps.example", IDScope: "0ne1", RegistrationID: who},
		}
		if err := cache.File.Save(cache.Content(provisioning.Assignment{Hub: "a.example", DeviceID: who})); err != nil {
			t.Fatal(err)
		}
	}
	damage := func(t *testing.T, dir string) {
		if err := os.WriteFile(filepath.Join(dir, "device.json"), []byte(`{"registrationId":"dev`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		owner string
		do    func(t *testing.T, dir string)
		want  string // in the error; "" means that the device starts
	}{
		"its own":                      {deviceID, nil, ""},
		"its own in capitals":          {"DEV1", nil, ""},
		"another's":                    {"dev3", nil, "dev3"},
		"nobody's":                     {"", nil, "3 pending readings of a device that it does not name"},
		"nobody's, with an assignment": {"", func(t *testing.T, dir string) { assigned(t, dir, deviceID) }, ""},
		"with another's assignment":    {"", func(t *testing.T, dir string) { assigned(t, dir, "dev3") }, "dev3"},
		"with a damaged owner":         {"", damage, "3 pending readings of a device that it does not name"},
		"damaged, with an assignment": {
			"", func(t *testing.T, dir string) { damage(t, dir); assigned(t, dir, deviceID) }, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := pendingFor(t, c.owner)
			if c.do != nil {
				c.do(t, dir)
			}
			bubble(t, nil, func(t *testing.T, w *world) {
				if c.want != "" {
					if err := refused(t, w, in(dir)); !strings.Contains(err, c.want) {
						t.Errorf("it says %q", err)
					}
					return
				}
				d := w.again(in(dir))
				d.connected()
				if err := d.close(); err != nil {
					t.Error(err)
				}
				if n := len(w.cloud.Ledger()); n != 3 {
					t.Errorf("%d readings arrived, want 3", n)
				}
			})
		})
	}
}

// What a device keeps in its directory is there again a second after somebody removed it.
func TestSmallFilesAreWrittenAgain(t *testing.T) {
	names := []string{"assignment.json", "commands.json", "device.json", "lock", "scope.json", "twin.json"}
	for what, do := range map[string]func(dir string) error{
		"the directory": os.RemoveAll,
		"the files": func(dir string) error {
			var errs []error
			for _, name := range names {
				errs = append(errs, os.Remove(filepath.Join(dir, name)))
			}
			return errors.Join(errs...)
		},
		"the directory's name": func(dir string) error { return os.Rename(dir, dir+".old") },
		"the contents": func(dir string) error {
			var errs []error
			for _, name := range names {
				errs = append(errs, os.Truncate(filepath.Join(dir, name), 0))
			}
			return errors.Join(errs...)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "st")
			keeping := func(s *machine.Settings) {
				s.Storage.StateDir = dir
				s.Handlers.Command = func(context.Context, machine.Message) error { return nil }
			}
			twinBubbleWith(t, keeping, func(t *testing.T, w *twinWorld) {
				w.connected()
				if err := w.cloud.SendCommand(deviceID, "setAlarm", nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				w.offline()
				w.report(`{"battery":80}`)
				time.Sleep(time.Second)
				synctest.Wait()
				before := contentsOf(t, dir)
				if got := keysOf(before); !slices.Equal(got, names) {
					t.Fatalf("there are %v, want %v", got, names)
				}
				if err := do(dir); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				for name, text := range contentsOf(t, dir) {
					if text != before[name] {
						t.Errorf("%s holds %q, want %q", name, text, before[name])
					}
					delete(before, name)
				}
				if len(before) > 0 {
					t.Errorf("missing: %v", keysOf(before))
				}
			})
		})
	}
}

func contentsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		if e.Type().IsRegular() {
			text, _ := os.ReadFile(filepath.Join(dir, e.Name()))
			all[e.Name()] = string(text)
		}
	}
	return all
}

func keysOf(m map[string]string) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// At the end a device says what is true: what is pending will be sent at the next start, or it is lost.
func TestTheLastRecordsAreTrueEvenIfTheDirectoryWasRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(dir string) error
		lost int
	}{
		"removed": {os.RemoveAll, 0},
		"renamed": {func(dir string) error { return os.Rename(dir, dir+".old") }, 0},
		"replaced by a file": {
			func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) }, 5,
		},
		"and the outbox a file": {func(dir string) error {
			dir = filepath.Join(dir, "outbox")
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
		}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "st")
			bubble(t, in(dir), func(t *testing.T, w *world) {
				w.connected()
				w.strike(emulator.TargetDPS, emulator.FIN, emulator.Params{})
				w.strike("A", emulator.FIN, emulator.Params{})
				time.Sleep(time.Second)
				for range 5 {
					w.send()
				}
				synctest.Wait()
				if err := c.do(dir); err != nil {
					t.Fatal(err)
				}
				err := w.close()
				var lost *machine.LostError
				if errors.As(err, &lost); (lost == nil) != (c.lost == 0) || lost != nil && lost.Left != c.lost {
					t.Errorf("it ends with %v", err)
				}
				if said := w.warnings("will be sent at the next start"); (said == "") != (c.lost > 0) {
					t.Errorf("it says %q", said)
				}
				if c.lost == 0 && waitingIn(t, dir) != 5 {
					t.Errorf("%d readings are pending", waitingIn(t, dir))
				}
			})
		})
	}
}

// "rm st/*" removes the owner's name and the lock, and leaves the outbox.
func TestTheFilesBesideTheOutboxMayBeRemovedWhileReadingsArePending(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "st")
	bubble(t, in(dir), func(t *testing.T, w *world) {
		w.connected()
		w.strike(emulator.TargetDPS, emulator.FIN, emulator.Params{})
		w.strike("A", emulator.FIN, emulator.Params{})
		time.Sleep(time.Second)
		w.send()
		synctest.Wait()
		for name := range contentsOf(t, dir) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		w.send()
		if err := w.close(); err != nil {
			t.Errorf("it ends with %v", err)
		}
		if n := waitingIn(t, dir); n != 2 {
			t.Errorf("%d readings are pending, want 2", n)
		}
		if _, there := contentsOf(t, dir)["device.json"]; !there {
			t.Error("the directory does not say whose it is")
		}
	})
}

func TestARelativeStateDirectoryStaysWhenTheWorkingDirectoryChanges(t *testing.T) {
	old, other := t.TempDir(), t.TempDir()
	t.Chdir(old)
	d, err := machine.New(idle("st"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{old, other} {
		t.Chdir(dir)
		if _, err := d.Send(t.Context(), machine.Reading{Body: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := machine.New(idle(filepath.Join(old, "st"))); !errors.Is(err, statefile.ErrLocked) {
		t.Errorf("a second device at the same path: %v", err)
	}
	_ = d.Close(t.Context())
	if n := waitingIn(t, filepath.Join(old, "st")); n != 2 {
		t.Errorf("%d readings are pending, want 2", n)
	}
	if entries, _ := os.ReadDir(other); len(entries) > 0 {
		t.Errorf("the other directory has %v", entries)
	}
}
