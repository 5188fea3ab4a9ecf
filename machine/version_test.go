package machine_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/statefile"
	"giantlizard.example/failover/transport"
)

// idle is the settings of a device that is only made.
func idle(dir string) machine.Settings {
	return machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: "dps.example", IDScope: "0ne1", RegistrationID: deviceID,
			Key: func() (transport.Key, error) { return transport.Key{}, errors.New("none") },
		},
		Storage: machine.Storage{StateDir: dir},
	}
}

// filesIn is what each file below a directory holds, but for the lock.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// laterSegment is a segment whose header has a format that nobody knows yet.
func laterSegment(name string) []byte {
	b := append(make([]byte, 12), "h\x04of a later version"...)
	binary.LittleEndian.PutUint32(b, uint32(len(b)-12))
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(b[4:], crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, b[8:]))
	return b
}

// later puts that segment at a path.
func later(path string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
		os.WriteFile(path, laterSegment(filepath.Base(path)), 0o600))
}

// own makes a directory the device's.
func own(dir string) error {
	return statefile.At(filepath.Join(dir, "device.json")).Save(map[string]any{"registrationId": deviceID})
}

// ownScope writes what a device of this version leaves, with the scope of its settings in this file.
func ownScope(dir string) error {
	scope := statefile.At(filepath.Join(dir, "scope.json"))
	return errors.Join(own(dir), scope.Save(map[string]any{"dpsHost": "dps.example", "idScope": "0ne1"}))
}

func TestADirectoryOfALaterVersionIsRefusedAndLeftAsItIs(t *testing.T) {
	for _, name := range []string{
		"device.json", "scope.json", "assignment.json", "commands.json", "twin.json", "epoch.json",
		filepath.Join("outbox", "0000000007.log"),
	} {
		for _, inMemory := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				epoch := statefile.At(filepath.Join(dir, "epoch.json"))
				if err := errors.Join(ownScope(dir),
					epoch.Save(map[string]any{"epoch": "8f3a1c02", "last": 7})); err != nil {
					t.Fatal(err)
				}
				if path := filepath.Join(dir, name); filepath.Ext(name) == ".log" {
					if inMemory {
						t.Skip("what a start in memory does not use is only a warning")
					}
					if err := later(path); err != nil {
						t.Fatal(err)
					}
				} else if err := statefile.At(path).Save(map[string]any{"version": 2,
					"content": "in another way"}); err != nil {
					t.Fatal(err)
				}
				before := filesIn(t, dir)
				s := idle(dir)
				s.Storage.InMemory = inMemory
				for range 2 { // and the lock is given back
					_, err := machine.New(s)
					if !errors.As(err, new(*statefile.VersionError)) ||
						!strings.Contains(err.Error(), filepath.Base(name)) ||
						!strings.Contains(err.Error(), "use that version, or another state directory") {
						t.Fatalf("got %v", err)
					}
				}
				if after := filesIn(t, dir); !maps.Equal(before, after) {
					t.Errorf("the files were %q and are %q", before, after)
				}
			})
		}
	}
}

func TestADirectoryOfALaterVersionThatTakesThePlaceOfOursIsLeftAsItIs(t *testing.T) {
	for name, put := range map[string]func(dir string) error{
		"a file": func(dir string) error {
			return statefile.At(filepath.Join(dir, "twin.json")).Save(map[string]any{"version": 2,
				"content": "in another way"})
		},
		"an outbox": func(dir string) error { return later(filepath.Join(dir, "outbox", "0000000007.log")) },
	} {
		dir := filepath.Join(t.TempDir(), "state")
		synctest.Test(t, func(t *testing.T) { // no patrol comes between
			d, err := machine.New(idle(dir))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Send(t.Context(), machine.Reading{Body: []byte("1")}); err != nil {
				t.Fatal(err)
			}
			defer d.Close(t.Context())
			synctest.Wait() // until the committer rests
			if err := errors.Join(os.Rename(dir, dir+".old"), ownScope(dir), put(dir)); err != nil {
				t.Fatal(err)
			}
			before := filesIn(t, dir)
			id, err := d.Send(t.Context(), machine.Reading{Body: []byte("2")})
			if !errors.As(err, new(*statefile.VersionError)) {
				t.Errorf("%s: got %v, %v", name, id, err)
			}
			d.Close(t.Context())
			if after := filesIn(t, dir); !maps.Equal(before, after) {
				t.Errorf("%s: the files were %q and are %q", name, before, after)
			}
		})
	}
}

// A start in memory neither reads nor changes the readings on the disk, so it goes on.
func TestAStartInMemoryLeavesAnOutboxOfALaterVersionAsItIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "outbox", "0000000007.log")
	if err := errors.Join(ownScope(dir), later(path)); err != nil {
		t.Fatal(err)
	}
	s := idle(dir)
	s.Storage.InMemory = true
	d, err := machine.New(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Send(t.Context(), machine.Reading{Body: []byte("1")}); err != nil {
		t.Error(err)
	}
	d.Close(t.Context())
	if text, err := os.ReadFile(path); string(text) != string(laterSegment(filepath.Base(path))) {
		t.Errorf("it is %q, %v", text, err)
	}
}

// Whose directory it is decides nothing then.
func TestAnOutboxOfALaterVersionIsNamedAlsoWhereNothingSaysWhoseItIs(t *testing.T) {
	dir := t.TempDir()
	if err := later(filepath.Join(dir, "outbox", "0000000007.log")); err != nil {
		t.Fatal(err)
	}
	_, err := machine.New(idle(dir))
	if !errors.As(err, new(*statefile.VersionError)) || strings.Contains(err.Error(), "does not say whose") {
		t.Errorf("got %v", err)
	}
}

// What a directory's files say beyond what this version knows is ignored.
func TestADirectoryToWhichALaterVersionHasAddedMembersIsUsed(t *testing.T) {
	dir := t.TempDir()
	for name, v := range map[string]map[string]any{
		"device.json":   {"registrationId": deviceID, "new": 1},
		"epoch.json":    {"epoch": "8f3a1c02", "last": 7, "new": 1},
		"twin.json":     {"reported": map[string]int{"a": 1}, "new": 1},
		"commands.json": {"completed": []string{"x"}, "new": 1},
	} {
		if err := statefile.At(filepath.Join(dir, name)).Save(v); err != nil {
			t.Fatal(err)
		}
	}
	s := idle(dir)
	d, err := machine.New(s)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(t.Context())
	if _, err := d.Send(t.Context(), machine.Reading{Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if e, ok := d.Outbox().Peek(0); !ok || e.Reading.Properties[outbox.PreviousProperty] != "8f3a1c02-7" {
		t.Errorf("handed out %v", e)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "*.damaged")); len(aside) > 0 {
		t.Errorf("set aside: %v", aside)
	}
}

// Otherwise its first reading could be sent on no topic, and neither could the next.
func TestAnEpochThatNoDeviceHasGivenIsSetAside(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "epoch.json")
	if err := statefile.At(file).Save(map[string]any{"epoch": strings.Repeat("e", 70_000), "last": 7}); err != nil {
		t.Fatal(err)
	}
	d, err := machine.New(idle(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(t.Context())
	if _, err := d.Send(t.Context(), machine.Reading{Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if e, ok := d.Outbox().Peek(0); !ok || e.Reading.Properties[outbox.PreviousProperty] != "" {
		t.Errorf("handed out %.200v, %t", e, ok)
	}
	if _, err := os.Stat(file + ".damaged"); err != nil {
		t.Error(err)
	}
}
