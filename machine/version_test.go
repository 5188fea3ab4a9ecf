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

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/statefile"
	"giantlizard.example/failover/transport"
)

// idle is the settings of a device that is only made.
func idle(dir string) machine.Settings {
	return machine.Settings{
		ProvisioningHost: "dps.example", IDScope: "0ne1", RegistrationID: deviceID, StateDir: dir,
		Key: func() (transport.Key, error) { return transport.Key{}, errors.New("none") },
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

func TestADirectoryOfALaterVersionIsRefusedAndLeftAsItIs(t *testing.T) {
	for _, name := range []string{
		"device.json", "assignment.json", "commands.json", "twin.json", "epoch.json", filepath.Join("outbox", "0000000007.log"),
	} {
		for _, inMemory := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				for file, v := range map[string]any{
					"device.json": map[string]any{"registrationId": deviceID}, "epoch.json": map[string]any{"epoch": "8f3a1c02", "last": 7},
				} {
					if err := statefile.Save(filepath.Join(dir, file), v); err != nil {
						t.Fatal(err)
					}
				}
				if path := filepath.Join(dir, name); filepath.Ext(name) == ".log" {
					if inMemory {
						t.Skip("what a start in memory does not use is only a warning")
					}
					if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, laterSegment(filepath.Base(name)), 0o600)); err != nil {
						t.Fatal(err)
					}
				} else if err := statefile.Save(path, map[string]any{"version": 2, "content": "in another way"}); err != nil {
					t.Fatal(err)
				}
				before := filesIn(t, dir)
				s := idle(dir)
				s.InMemory = inMemory
				for range 2 { // and the lock is given back
					_, err := machine.New(s)
					if !errors.As(err, new(*statefile.VersionError)) || !strings.Contains(err.Error(), filepath.Base(name)) ||
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

// A start in memory neither reads nor changes the readings on the disk, so it goes on.
func TestAStartInMemoryLeavesAnOutboxOfALaterVersionAsItIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "outbox", "0000000007.log")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, laterSegment(filepath.Base(path)), 0o600)); err != nil {
		t.Fatal(err)
	}
	s := idle(dir)
	s.InMemory = true
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

// What a directory's files say beyond what this version knows is ignored.
func TestADirectoryToWhichALaterVersionHasAddedMembersIsUsed(t *testing.T) {
	dir := t.TempDir()
	for name, v := range map[string]map[string]any{
		"device.json":   {"registrationId": deviceID, "new": 1},
		"epoch.json":    {"epoch": "8f3a1c02", "last": 7, "new": 1},
		"twin.json":     {"reported": map[string]int{"a": 1}, "new": 1},
		"commands.json": {"completed": []string{"x"}, "new": 1},
	} {
		if err := statefile.Save(filepath.Join(dir, name), v); err != nil {
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
	if e, ok := d.Outbox.Peek(0); !ok || e.Reading.Properties[outbox.BeforeProperty] != "8f3a1c02-7" {
		t.Errorf("handed out %v", e)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "*.damaged")); len(aside) > 0 {
		t.Errorf("set aside: %v", aside)
	}
}
