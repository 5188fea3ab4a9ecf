//go:build unix

package main_test

import (
	endian "encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
)

// framed returns a record of the outbox for the file of this name.
func framed(name, payload string) []byte {
	b := append(make([]byte, 12), payload...)
	endian.LittleEndian.PutUint32(b, uint32(len(payload)))
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	endian.LittleEndian.PutUint32(b[4:], crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, b[8:]))
	return b
}

func TestFileOfALaterVersionIsNamedByEachCommand(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	state := strings.TrimPrefix(stateOf(env), "--state-dir=")
	name := filepath.Join(state, "outbox", "0000000003.log")
	must(t, os.MkdirAll(filepath.Dir(name), 0o700))
	must(t, os.WriteFile(name, framed("0000000003.log", "h\x04new"), 0o600))
	must(t, statefile.At(filepath.Join(state, "device.json")).Save(map[string]string{"registrationId": "dev1"}))
	for _, args := range [][]string{
		{"outbox", "list"}, {"outbox", "verify"}, {"outbox", "export"}, {"outbox", "requeue", "8f3a1c02-1"}, {"ledger",
			os.DevNull}, {"run"},
	} {
		e, extra := []string(nil), []string{stateOf(env)}
		if args[0] == "run" {
			e, extra = env, nil
		}
		code, out, stderr := run(t, e, append(args, extra...)...)
		if code != 1 || out != "" || !strings.Contains(stderr,
			"0000000003.log was written by a later version of failover (it has format 4, "+
				"and this version reads format 3); "+
				"use that version, or another state directory") || strings.Contains(stderr, "damaged") {
			t.Errorf("%v: exit code %d: %s%s", args, code, out, stderr)
		}
	}
	files, err := filepath.Glob(filepath.Join(state, "outbox", "*"))
	if text, _ := os.ReadFile(name); err != nil || len(files) != 1 ||
		string(text) != string(framed("0000000003.log", "h\x04new")) {
		t.Errorf("there are %v, %v", files, err)
	}
}

// The other readings are shown, and the exit code says that one is missing.
func TestUnreadableQuarantinedReadingIsReported(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	state := t.TempDir()
	dir := filepath.Join(state, "outbox")
	box, err := outbox.Open(dir, outbox.Options{})
	must(t, err)
	for range 4 {
		_, err := box.Put(t.Context(), payloads.Reading{Body: []byte("1")}, outbox.Stamp{})
		must(t, err)
	}
	for range 3 {
		e, _ := box.Peek(0)
		box.Quarantine(e.ID.N, errors.New("bad"))
	}
	must(t, box.Close())
	kept, err := filepath.Glob(filepath.Join(dir, "*.quarantined"))
	if err != nil || len(kept) != 3 {
		t.Fatalf("%v, %v", kept, err)
	}
	later, damaged := filepath.Base(kept[0]), filepath.Base(kept[1])
	must(t, os.WriteFile(kept[0], framed(later, "\x03whyx"), 0o600))
	must(t, os.WriteFile(kept[1], []byte("damaged"), 0o600))
	for _, name := range []string{"list", "export", "verify"} {
		code, out, stderr := run(t, nil, "outbox", name, "--state-dir="+state)
		said := out + stderr
		if code != 1 || !strings.Contains(said, later+" was written by a later version of failover") ||
			!strings.Contains(said, "the quarantined reading in "+damaged+" cannot be read: the record is damaged") {
			t.Errorf("%s: exit code %d: %s", name, code, said)
		}
		if name != "verify" && strings.Count(out, "quarantined") == 0 || name == "list" &&
			!strings.Contains(out, "waiting") {
			t.Errorf("%s shows\n%s", name, out)
		}
	}
}
