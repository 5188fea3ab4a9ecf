package outbox

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"giantlizard.example/failover/statefile"
)

// bytesOf is what each file of a disk holds.
func (d *cutDisk) bytesOf() map[string]string {
	all := map[string]string{}
	for name, n := range d.names {
		all[name] = string(n.data)
	}
	return all
}

// wantRefused checks that a log is neither opened nor read because of one file of another version, and
// that nothing is changed.
func wantRefused(t *testing.T, d *cutDisk, file string, said ...string) {
	t.Helper()
	before := d.bytesOf()
	_, opening := Open("", Options{Files: d})
	_, reading := readFiles("", d)
	for _, err := range []error{opening, reading} {
		other := new(statefile.VersionError)
		if !errors.As(err, &other) || other.Path != file {
			t.Fatalf("got %v", err)
		}
		for _, text := range append(said, file, "use that version, or another state directory") {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v does not say %q", err, text)
			}
		}
	}
	if after := d.bytesOf(); !maps.Equal(before, after) {
		t.Errorf("the files were %q and are %q", before, after)
	}
}

// withVersion is a segment whose header names another format.
func withVersion(name string, format byte) func([]byte) []byte {
	return func(b []byte) []byte {
		payload, safe, size := frameAt(b, name)
		return append(appendFrame(nil, name, safe, func(p []byte) []byte {
			return append(append(p, kindHeader, format), payload[2:]...)
		}), b[size:]...)
	}
}

func TestLogOfAnotherVersionIsNeitherOpenedNorChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := old(t)
		for _, name := range d.with(suffix) { // be it the newest, or one that the other version has not rewritten yet
			wantRefused(t, changed(d, name, withVersion(name, 4)), name, "a later version",
				"it has format 4, and this version reads format 3")
			wantRefused(t, changed(d, name, withVersion(name, 200)), name, "a later version", "format 200")
			wantRefused(t, changed(d, name, withVersion(name, 2)), name, "an earlier version", "it has format 2")
		}
	})
}

func TestRecordOfAnUnknownKindIsAnotherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, closed := olds(t)
		// in one of them the newest segment may be torn, in the other it may not
		for _, d := range []*cutDisk{open, closed} {
			for _, name := range d.with(suffix) {
				record := appendFrame(nil, name, 0,
					func(p []byte) []byte { return append(p, "x of a later version"...) })
				if name == d.with(suffix)[len(d.with(suffix))-1] {
					wantRefused(t, changed(d, name, func(b []byte) []byte { return append(b, record...) }), name,
						"a later version",
						`'x'`)
				}
				wantRefused(t, changed(d, name, func(b []byte) []byte {
					_, _, size := frameAt(b, name)
					return bytes.Join([][]byte{b[:size], record, b[size:]}, nil)
				}), name, "a later version", `'x'`)
			}
		}
	})
}

// A version that only adds fields to a reading keeps its format: the reading is sent without them.
func TestReadingWithAnUnknownFieldIsHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newCutDisk()
		l := openedOn(t, d, nil)
		fill(t, l, 1)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		name := d.with(suffix)[0]
		more := changed(d, name, func(b []byte) []byte {
			_, _, size := frameAt(b, name)
			payload, safe, _ := frameAt(b[size:], name)
			return append(b[:size:size], appendFrame(nil, name, safe, func(p []byte) []byte {
				return appendText(append(append(p, payload...), 99), "new")
			})...)
		})
		for _, name := range more.with(suffix)[1:] {
			delete(more.names, name) // it knows how long the first was
		}
		l = openedOn(t, more, nil)
		defer l.Close()
		if there, missing := remaining(t, l); len(there) != 1 || len(missing) > 0 {
			t.Errorf("there are %v, and missing %v", there, missing)
		}
	})
}

func TestQuarantinedReadingOfALaterVersionIsNamedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := old(t)
		name := d.with(quarantineSuffix)[0]
		c := changed(d, name, func([]byte) []byte {
			return appendFrame(nil, name, 0,
				func(p []byte) []byte { return append(appendText(p, "why"), "x of a later version"...) })
		})
		l := openedOn(t, c, nil)
		defer l.Close()
		before := c.bytesOf()[name]
		_, err := l.Requeue(t.Context(), ID{l.epoch, 5})
		for q, reading := range quarantined(c) {
			for _, err := range []error{err, reading} {
				if other := new(statefile.VersionError); !errors.As(err, &other) || other.Path != name {
					t.Errorf("%v, %v", q, err)
				}
			}
		}
		if c.bytesOf()[name] != before {
			t.Error("it is not as it was")
		}
	})
}
