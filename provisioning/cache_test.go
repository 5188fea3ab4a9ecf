package provisioning_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/statefile"
)

var theDevice = provisioning.Identity{ProvisioningHost: "example.com", IDScope: "0ne1", RegistrationID: "dev1"}

var hubB = provisioning.Assignment{Hub: "b.example:8884", DeviceID: "other", Substatus: "deviceDataMigrated"}

// newCache returns a cache in a directory that does not exist yet.
func newCache(t *testing.T) provisioning.Cache {
	return theCache(filepath.Join(t.TempDir(), "state", "assignment.json"))
}

func theCache(path string) provisioning.Cache {
	return provisioning.Cache{File: statefile.At(path), Identity: theDevice}
}

// saved returns a cache that holds an assignment, and the text of its file.
func saved(t *testing.T, a provisioning.Assignment) (provisioning.Cache, []byte) {
	t.Helper()
	c := newCache(t)
	if err := c.File.Save(c.Content(a)); err != nil {
		t.Fatal(err)
	}
	return c, read(t, c.File.Path())
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantStored(t *testing.T, c provisioning.Cache, want provisioning.Assignment) {
	t.Helper()
	if a, ok, err := c.Load(); !ok || err != nil || a != want {
		t.Errorf("got %+v, %t, %v", a, ok, err)
	}
}

// wantSetAside checks that Load returns nothing but an error, and keeps the file under another name.
func wantSetAside(t *testing.T, c provisioning.Cache, what string, text []byte) {
	t.Helper()
	a, ok, err := c.Load()
	aside := c.File.Path() + "." + what
	if ok || a != (provisioning.Assignment{}) || err == nil || !strings.Contains(err.Error(), aside) {
		t.Fatalf("got %+v, %t, %v", a, ok, err)
	}
	if kept := read(t, aside); !bytes.Equal(kept, text) {
		t.Errorf("%s holds %q", aside, kept)
	}
	if _, ok, err := c.Load(); ok || err != nil {
		t.Errorf("the next Load: %t, %v", ok, err)
	}
}

func TestAnAssignmentIsStoredForItsOwnerOnly(t *testing.T) {
	for _, a := range []provisioning.Assignment{theHub, hubB, {Hub: "[::1]:8883", DeviceID: "dev1"}} {
		c, _ := saved(t, a)
		wantStored(t, c, a)
		if err := c.File.Save(c.Content(hubB)); err != nil {
			t.Fatal(err)
		}
		wantStored(t, c, hubB)
		for path, want := range map[string]os.FileMode{
			c.File.Path(): 0o600, filepath.Dir(c.File.Path()): 0o700 | os.ModeDir,
		} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
			}
		}
	}
}

func TestThePayloadIsStoredByteForByte(t *testing.T) {
	for _, payload := range []string{
		`{ "a" : "<b>&\u2028" }`, `"` + strings.Repeat("<", provisioning.MaxPayload-2) + `"`,
		strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
	} {
		a := theHub
		a.Payload = payload
		c, _ := saved(t, a)
		wantStored(t, c, a)
	}
}

// Earlier versions wrote such a file.
func TestAFileWithoutAPayloadIsRead(t *testing.T) {
	c, good := saved(t, theHub)
	if bytes.Contains(good, []byte("payload")) {
		t.Fatalf("the file is %s", good)
	}
	content := `{
  "dpsHost": "example.com",
  "idScope": "0ne1",
  "registrationId": "dev1",
  "assignedHub": "hub.example",
  "deviceId": "dev1",
  "substatus": "initialAssignment",
  "saved": "2026-01-02T03:04:05.678Z"`
	checksum := crc32.ChecksumIEEE([]byte(content))
	write(t, c.File.Path(), fmt.Appendf(nil, "%s,\n  \"checksum\": \"%08x\"\n}\n", content, checksum))
	wantStored(t, c, theHub)
}

func TestANewCacheAndOneWithoutAFileAreEmpty(t *testing.T) {
	nowhere := provisioning.Cache{Identity: theDevice}
	if err := nowhere.File.Save(nowhere.Content(theHub)); err != nil {
		t.Error(err)
	}
	for _, c := range []provisioning.Cache{newCache(t), nowhere} {
		if a, ok, err := c.Load(); ok || err != nil || a != (provisioning.Assignment{}) {
			t.Errorf("got %+v, %t, %v", a, ok, err)
		}
	}
}

func TestADamagedFileIsSetAside(t *testing.T) {
	_, good := saved(t, theHub)
	for name, text := range map[string]string{
		"empty":                      "",
		"null":                       "null",
		"no JSON":                    "hub.example",
		"another object":             "{}",
		"an unknown name":            strings.Replace(string(good), "{", `{"more":1,`, 1),
		"two of them":                string(good) + string(good),
		"another hub by hand":        strings.Replace(string(good), "hub.example", "hub2.example", 1),
		"no checksum":                string(good[:bytes.Index(good, []byte(",\n  \"checksum"))]) + "}",
		"a huge value":               `{"assignedHub":"` + strings.Repeat("x", 10<<20) + `"}`,
		"NULs, as after a power cut": string(make([]byte, len(good))),
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := saved(t, theHub)
			write(t, c.File.Path(), []byte(text))
			wantSetAside(t, c, "damaged", []byte(text))
			if err := c.File.Save(c.Content(hubB)); err != nil {
				t.Error(err)
			}
			wantStored(t, c, hubB)
		})
	}
}

func TestATruncatedFileIsSetAside(t *testing.T) {
	c, good := saved(t, theHub)
	for i := range good {
		write(t, c.File.Path(), good[:i])
		wantSetAside(t, c, "damaged", good[:i])
	}
}

func TestNoFlippedBitMakesAnotherAssignment(t *testing.T) {
	slow.Test(t)
	c, good := saved(t, theHub)
	for i := range good {
		for bit := range 8 {
			text := bytes.Clone(good)
			text[i] ^= 1 << bit
			write(t, c.File.Path(), text)
			if a, ok, err := c.Load(); ok || err == nil || a != (provisioning.Assignment{}) {
				t.Errorf("bit %d of byte %d: %+v, %t, %v", bit, i, a, ok, err)
			}
		}
	}
}

func TestAFileThatIsNoAssignmentIsSetAside(t *testing.T) {
	c := newCache(t)
	if err := c.File.Save(map[string]int{"something else": 1}); err != nil {
		t.Fatal(err)
	}
	wantSetAside(t, c, "damaged", read(t, c.File.Path()))
	for name, change := range map[string]func(*provisioning.Assignment){
		"no host name": func(a *provisioning.Assignment) { a.Hub = "no host" },
		"no device ID": func(a *provisioning.Assignment) { a.DeviceID = "" },
	} {
		a := theHub
		change(&a)
		c, text := saved(t, a)
		t.Run(name, func(t *testing.T) { wantSetAside(t, c, "damaged", text) })
	}
}

func TestAForeignAssignmentIsSetAside(t *testing.T) {
	for name, change := range map[string]func(*provisioning.Cache){
		"another DPS":          func(c *provisioning.Cache) { c.Identity.ProvisioningHost = "other.example" },
		"another ID scope":     func(c *provisioning.Cache) { c.Identity.IDScope = "0ne2" },
		"another registration": func(c *provisioning.Cache) { c.Identity.RegistrationID = "dev2" },
	} {
		t.Run(name, func(t *testing.T) {
			c, text := saved(t, theHub)
			change(&c)
			wantSetAside(t, c, "foreign", text)
		})
	}
}

// Not even root can write there.
func TestAnUnwritableFileIsAWarning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	directory := filepath.Join(t.TempDir(), "directory")
	if err := os.MkdirAll(filepath.Join(directory, "not empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path    string
		warning bool // from Load too
	}{
		"below a file":             {filepath.Join(file, "assignment.json"), true},
		"a directory in its place": {directory, true},
		"on a read-only system":    {"/proc/self/assignment.json", false},
	} {
		t.Run(name, func(t *testing.T) {
			cache := newCache(t)
			cache.File = statefile.At(c.path)
			if err := cache.File.Save(cache.Content(theHub)); err == nil {
				t.Errorf("save: %v", err)
			}
			if _, ok, err := cache.Load(); ok || (err != nil) != c.warning {
				t.Errorf("load: %t, %v", ok, err)
			}
		})
	}
	if left, _ := filepath.Glob(directory + ".*"); len(left) > 0 {
		t.Errorf("not removed: %q", left)
	}
}

func TestSaveMayBeCalledConcurrently(t *testing.T) {
	c, _ := saved(t, theHub)
	var saving sync.WaitGroup
	for i := range 8 {
		saving.Go(func() {
			for j := range 10 {
				a := provisioning.Assignment{Hub: fmt.Sprintf("hub%d.example", i), DeviceID: fmt.Sprintf("dev%d", j)}
				if err := c.File.Save(c.Content(a)); err != nil {
					t.Error(err)
				}
				if _, ok, err := c.Load(); !ok || err != nil {
					t.Errorf("load: %t, %v", ok, err)
				}
			}
		})
	}
	saving.Wait()
	if files, _ := os.ReadDir(filepath.Dir(c.File.Path())); len(files) != 1 {
		t.Errorf("not removed: %v", files)
	}
}

// saverVariable makes the test binary a process that saves until it is killed.
const saverVariable = "FAILOVER_TEST_SAVE"

func TestAKilledProcessLeavesACompleteFile(t *testing.T) {
	slow.Test(t)
	if path := os.Getenv(saverVariable); path != "" {
		c := theCache(path) // t.TempDir would not be removed
		for {
			_ = c.File.Save(c.Content(theHub))
			_ = c.File.Save(c.Content(hubB))
		}
	}
	c, _ := saved(t, theHub)
	var seen []provisioning.Assignment
	for i := range 6 {
		saver := exec.Command(os.Args[0], "-test.run=^TestAKilledProcessLeavesACompleteFile$")
		saver.Env = append(os.Environ(), saverVariable+"="+c.File.Path())
		if err := saver.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(100+17*i) * time.Millisecond)
		_ = saver.Process.Kill()
		_ = saver.Wait()
		a, ok, err := c.Load()
		if !ok || err != nil || a != theHub && a != hubB {
			t.Errorf("got %+v, %t, %v", a, ok, err)
		}
		if !slices.Contains(seen, a) {
			seen = append(seen, a)
		}
	}
	t.Logf("seen: %+v", seen)
}

func TestTheOwnerOfAStoredAssignmentIsKnown(t *testing.T) {
	c, text := saved(t, theHub)
	if owner := provisioning.OwnerOf(c.File.Path()); owner != "dev1" {
		t.Errorf("the owner is %q", owner)
	}
	write(t, c.File.Path(), text[1:])
	for _, path := range []string{c.File.Path(), c.File.Path() + ".missing"} {
		if owner := provisioning.OwnerOf(path); owner != "" {
			t.Errorf("the owner is %q", owner)
		}
	}
}
