package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/payloads"
)

// old is a log of a few segments that was closed: 1 to 14 were put, 2, 3 and 7 acknowledged, 5 quarantined.
func old(t *testing.T) *cutDisk {
	t.Helper()
	d := newCutDisk()
	l := openedOn(t, d, nil)
	fill(t, l, 7)
	for range 7 {
		l.Peek(0)
	}
	for _, n := range []uint64{2, 3, 7} {
		l.Remove(n)
	}
	l.Quarantine(5, errors.New("too bad"))
	synctest.Wait()
	fill(t, l, 7)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return d
}

var oldLeft = []uint64{1, 4, 6, 8, 9, 10, 11, 12, 13, 14}

func bodyOf(n uint64) string { return fmt.Sprintf("reading %d", n) }

func fill(t *testing.T, l *Log, count int) {
	t.Helper()
	for range count {
		id, err := l.Put(context.Background(), payloads.Reading{Body: []byte(bodyOf(l.Last() + 1))})
		if err != nil {
			t.Fatal(id, err)
		}
	}
}

func openedOn(t *testing.T, files Files, warned *[]error) *Log {
	t.Helper()
	o := Options{Files: files, segmentSize: 250}
	if warned != nil {
		o.Warn = func(err error) { *warned = append(*warned, err) }
	}
	l, err := Open("", o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// left are the numbers that a log still hands out, each with the content that was put, and those named as missing.
func left(t *testing.T, l *Log) (numbers []uint64, missing ranges) {
	t.Helper()
	last := uint64(0)
	for e, ok := l.Peek(0); ok; e, ok = l.Peek(0) {
		if n := e.ID.N; n <= last || string(e.Reading.Body) != bodyOf(n) {
			t.Fatalf("after %d came %d: %q", last, n, e.Reading.Body)
		}
		last = e.ID.N
		numbers = append(numbers, last)
		missing.addAll(numbersIn(e.Reading.Properties[MissingProperty]))
	}
	return numbers, missing
}

// changed is a disk with one file changed.
func changed(d *cutDisk, name string, how func([]byte) []byte) *cutDisk {
	c := d.clone()
	n := &inode{data: how(bytes.Clone(d.names[name].data))}
	n.safe = len(n.data)
	c.names[name], c.safe[name] = n, n
	return c
}

// names are a disk's files with this suffix.
func (d *cutDisk) with(suffix string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	return names
}

// readingsIn are the readings of a segment that stand in frames that are as they were.
func readingsIn(name string, was, is []byte) (numbers []uint64) {
	for pos := 0; pos < len(was); {
		payload, _, size := frameAt(was[pos:], name)
		if pos+size <= len(is) && payload[0] == kindReading && bytes.Equal(was[pos:pos+size], is[pos:pos+size]) {
			e, _, _ := readEntry(payload[1:])
			numbers = append(numbers, e.ID.N)
		}
		pos += size
	}
	return numbers
}

// rotten changes one segment, and checks what is made of it. excused: it looks like what a power cut tears, so nobody can know.
func rotten(t *testing.T, was *cutDisk, name string, excused bool, how func([]byte) []byte) {
	t.Helper()
	d := changed(was, name, how)
	rot := d.names[name].data
	s, err := readFiles("", d)
	if err != nil {
		t.Fatal(err)
	}
	var warned []error
	l := openedOn(t, d, &warned)
	defer l.Close()
	if len(warned) != len(s.Damages) || len(s.Damages) == 0 && !excused {
		t.Errorf("warned %v, and Read says %v", warned, s.Damages)
	}
	there, missing := left(t, l)
	mayGo := readingsIn(name, was.names[name].data, was.names[name].data)
	for _, n := range oldLeft {
		intact := !slices.Contains(mayGo, n) || slices.Contains(readingsIn(name, was.names[name].data, rot), n)
		if !slices.Contains(there, n) && intact && !(excused && n > slices.Min(mayGo)) {
			t.Errorf("%d can be read and is not handed out: %v", n, there)
		}
	}
	if excused {
		return
	}
	for _, n := range there {
		l.Remove(n)
	}
	for range 3 {
		fill(t, l, 5) // the next segments
		more, named := left(t, l)
		for _, n := range more {
			l.Remove(n)
		}
		missing.addAll(named)
		time.Sleep(2 * ackDelay)
	}
	synctest.Wait()
	for _, n := range oldLeft {
		if !slices.Contains(there, n) && !missing.has(n) {
			t.Errorf("%d is neither there nor named: there %v, named %v", n, there, missing)
		}
	}
	if kept := d.names[name+damagedSuffix]; kept == nil || !bytes.Equal(kept.data, rot) {
		t.Errorf("it is not kept: %v", slices.Sorted(maps.Keys(d.names)))
	}
}

func TestASegmentThatRotsAnywhereIsNoticedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := old(t)
		segments := d.with(suffix)
		if len(segments) < 4 {
			t.Fatalf("only %q", segments)
		}
		for i, name := range segments {
			newest := i == len(segments)-1
			data := d.names[name].data
			for at := range data {
				for _, pattern := range []byte{0x01, 0x80, 0xff} {
					rotten(t, d, name, newest && at >= int(safeBytes(name, data)), func(b []byte) []byte {
						b[at] ^= pattern
						return b
					})
					if t.Failed() {
						t.Fatalf("%s of %q, byte %d of %d, pattern %#x", name, segments, at, len(data), pattern)
					}
				}
			}
		}
	})
}

func TestASegmentThatIsCutShortIsNoticedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := old(t)
		segments := d.with(suffix)
		for i, name := range segments {
			for size := range d.names[name].data {
				rotten(t, d, name, i == len(segments)-1, func(b []byte) []byte { return b[:size] })
				if t.Failed() {
					t.Fatalf("%s of %q, cut to %d bytes", name, segments, size)
				}
			}
		}
	})
}
