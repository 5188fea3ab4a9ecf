package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
)

// old is a log of a few segments that was closed: 1 to 14 were put, 2, 3 and 7 acknowledged, 5 quarantined.
func old(t *testing.T) *cutDisk {
	t.Helper()
	_, closed := olds(t)
	return closed
}

// olds are that log as it was before it was closed, and after.
func olds(t *testing.T) (open, closed *cutDisk) {
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
	open = d.clone()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return open, d
}

var oldLeft = []uint64{1, 4, 6, 8, 9, 10, 11, 12, 13, 14}

// quiet waits until acknowledgements are recorded and empty segments are deleted.
func quiet() {
	time.Sleep(2 * recordDelay)
	synctest.Wait()
}

func bodyOf(n uint64) string { return fmt.Sprintf("reading %d", n) }

func fill(t *testing.T, l *Log, count int) {
	t.Helper()
	for range count {
		id, err := l.Put(context.Background(), payloads.Reading{Body: []byte(bodyOf(l.Last() + 1))}, Stamp{})
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

// remaining are the numbers that a log still hands out, each with the content that was put, and those
// named as missing.
func remaining(t *testing.T, l *Log) (numbers []uint64, missing ranges) {
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

func (s ranges) has(n uint64) bool {
	_, found := slices.BinarySearchFunc(s, n, func(x Range, n uint64) int {
		switch {
		case x.Last < n:
			return -1
		case x.First > n:
			return 1
		}
		return 0
	})
	return found
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
			e, _, _ := parseReading(payload[1:])
			numbers = append(numbers, e.ID.N)
		}
		pos += size
	}
	return numbers
}

// tornIn is how many bytes follow the first records of a file, of which none follows the others.
func tornIn(b []byte, name string) int64 {
	for len(b) > 0 {
		_, _, size := frameAt(b, name)
		if size == 0 {
			break
		}
		b = b[size:]
	}
	return int64(len(b))
}

// rotten changes one segment, and checks what is made of it. excused: it looks like what a power cut
// tears, so nobody can know what stood there.
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
	if torn := tornIn(rot, name); (torn > 0 || len(rot) == 0) && excused {
		want(t, "warned", warned, []error{Torn{name, torn}})
	} else if len(warned) != len(s.Damages) || len(s.Damages) == 0 && !excused {
		t.Errorf("warned %v, and Read says %v", warned, s.Damages)
	}
	there, missing := remaining(t, l)
	mayGo := readingsIn(name, was.names[name].data, was.names[name].data)
	for _, n := range oldLeft {
		intact := !slices.Contains(mayGo, n) || slices.Contains(readingsIn(name, was.names[name].data, rot), n)
		if !slices.Contains(there, n) && intact && !(excused && len(mayGo) > 0 && n > mayGo[0]) {
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
		more, named := remaining(t, l)
		for _, n := range more {
			l.Remove(n)
		}
		missing.addAll(named)
		quiet()
	}
	for _, n := range oldLeft {
		if !slices.Contains(there, n) && !missing.has(n) {
			t.Errorf("%d is neither there nor named: there %v, named %v", n, there, missing)
		}
	}
	if kept := d.names[name+damagedSuffix]; kept == nil || !bytes.Equal(kept.data, rot) {
		t.Errorf("it is not kept: %v", slices.Sorted(maps.Keys(d.names)))
	}
}

func TestChangedSegmentIsReportedAndKept(t *testing.T) {
	slow.Test(t)
	synctest.Test(t, func(t *testing.T) {
		open, closed := olds(t)
		for _, d := range []*cutDisk{open, closed} {
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
		}
	})
}

func TestShortenedFileOfAClosedLogIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := old(t)
		look := func(name string, how func([]byte) []byte) {
			s, err := readFiles("", changed(d, name, how))
			if err != nil || s.Last != 14 || s.Readings < len(oldLeft) && len(s.Damages) == 0 {
				t.Fatalf("%s: %d of %d readings are there, the last number is %d; damages: %v, %v",
					name, s.Readings, len(oldLeft), s.Last, s.Damages, err)
			}
		}
		for _, name := range d.with(suffix) {
			for at := range d.names[name].data {
				look(name, func(b []byte) []byte { return b[:at] })
				look(name, func(b []byte) []byte { b[at] ^= 0x10; return b })
			}
		}
	})
}

func TestShortenedSegmentIsReportedAndKept(t *testing.T) {
	slow.Test(t)
	synctest.Test(t, func(t *testing.T) {
		open, closed := olds(t)
		for _, d := range []*cutDisk{open, closed} {
			segments := d.with(suffix)
			for i, name := range segments {
				for size := range d.names[name].data {
					rotten(t, d, name, i == len(segments)-1, func(b []byte) []byte { return b[:size] })
					if t.Failed() {
						t.Fatalf("%s of %q, cut to %d bytes", name, segments, size)
					}
				}
			}
		}
	})
}

// A file that somebody emptied under a running process begins in the middle of a record, or without its header.
func TestReadingsOfAFileWithoutItsBeginningAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, _ := olds(t)
		name := open.with(suffix)[len(open.with(suffix))-1]
		first := readingsIn(name, open.names[name].data, open.names[name].data)
		if len(first) < 2 {
			t.Fatalf("%s holds %v", name, first)
		}
		for lost := 1; lost <= len(first)-1; lost++ {
			d := changed(open, name, func(b []byte) []byte {
				for { // as far as the reading that is the first one left
					payload, _, size := frameAt(b, name)
					if e, _, err := parseReading(payload[1:]); payload[0] == kindReading && err == nil &&
						e.ID.N == first[lost] {
						return b
					}
					b = b[size:]
				}
			})
			s, err := readFiles("", d)
			if err != nil || len(s.Damages) != 1 {
				t.Fatalf("%v, %v", s.Damages, err)
			}
			want := Range{first[0], first[lost] - 1}.String()
			if s.Damages[0].Missing != want || s.Damages[0].Unsure {
				t.Errorf("without the first %d readings: %v, want %s", lost, s.Damages[0], want)
			}
			alone := changed(d, open.with(suffix)[0], func(b []byte) []byte { return b })
			for _, older := range open.with(suffix) {
				if older != name {
					delete(alone.names, older)
				}
			}
			s, _ = readFiles("", alone)
			if len(s.Damages) != 1 || !s.Damages[0].Unsure ||
				!strings.Contains(s.Damages[0].Error(), "as far as is known") {
				t.Errorf("alone: %v", s.Damages)
			}
		}
	})
}

func TestChangedQuarantinedReadingIsNamedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := old(t)
		name := d.with(quarantineSuffix)[0]
		look := func(how func([]byte) []byte) {
			c := changed(d, name, how)
			files := 0
			for q, err := range quarantined(c) {
				if files++; err == nil || !strings.Contains(err.Error(), name) {
					t.Fatalf("%+v, %v", q, err)
				}
			}
			if files != 1 {
				t.Fatalf("%d files were looked at", files)
			}
			l := openedOn(t, c, nil)
			defer l.Close()
			if there, _ := remaining(t, l); !slices.Equal(there, oldLeft) {
				t.Fatalf("in the queue: %v", there)
			}
			if c.names[name] == nil {
				t.Fatal("it is not kept")
			}
		}
		for at := range d.names[name].data {
			look(func(b []byte) []byte { return b[:at] })
			for _, pattern := range []byte{0x01, 0x80, 0xff} {
				look(func(b []byte) []byte { b[at] ^= pattern; return b })
			}
		}
	})
}

func TestUnknownFilesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := old(t)
		random := rand.New(rand.NewPCG(1, 2))
		foreign := map[string][]byte{}
		for _, name := range []string{
			"notes.txt", "1.log", "0000000001.log.bak", "00000000001.log", "-000000001.log", "x.log", ".log",
			"0000000002.log.damaged",
			"nobody-1.quarantined",
		} {
			foreign[name] = garbage(random, 2000)
			d.put(name, foreign[name])
		}
		l := openedOn(t, d, nil)
		defer l.Close()
		there, _ := remaining(t, l)
		if !slices.Equal(there, oldLeft) {
			t.Errorf("in the queue: %v", there)
		}
		for _, n := range there {
			l.Remove(n)
		}
		fill(t, l, 20)
		quiet()
		for name, b := range foreign {
			if n := d.names[name]; n == nil || !bytes.Equal(n.data, b) {
				t.Errorf("%s has changed", name)
			}
		}
	})
}

func garbage(random *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// put puts a file there that is safe.
func (d *cutDisk) put(name string, b []byte) {
	n := &inode{data: b, safe: len(b)}
	d.names[name], d.safe[name] = n, n
}

func TestSegmentReplacedByGarbageIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		was := old(t)
		random := rand.New(rand.NewPCG(1, 3))
		for round := range 200 {
			d := was.clone()
			name := []string{"0000000000.log", "0000000002.log", "0000000777.log"}[round%3]
			b := garbage(random, 1+random.IntN(3000))
			d.put(name, b)
			l := openedOn(t, d, nil)
			there, missing := remaining(t, l)
			for _, n := range there {
				l.Remove(n)
			}
			for range 3 {
				fill(t, l, 5)
				more, named := remaining(t, l)
				missing.addAll(named)
				for _, n := range more {
					l.Remove(n)
				}
				quiet()
			}
			for _, n := range oldLeft {
				if !slices.Contains(there, n) && !missing.has(n) {
					t.Errorf("%d is neither there nor named: there %v, named %v", n, there, missing)
				}
			}
			if n := d.names[name+damagedSuffix]; n == nil || !bytes.Equal(n.data, b) {
				t.Errorf("%s is not kept: %v", name, slices.Sorted(maps.Keys(d.names)))
			}
			if err := l.Close(); err != nil || t.Failed() {
				t.Fatalf("%s, %d bytes: %v", name, len(b), err)
			}
		}
	})
}

func TestDirectoryWithTheNameOfASegmentIsIgnored(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"0000000001.log", "0000000002.log", "0000000003.log.damaged", "x-1.quarantined"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		l, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Put(t.Context(), payloads.Reading{Body: []byte(bodyOf(l.Last() + 1))}, Stamp{}); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if s, err := Read(dir); err != nil || s.Readings != 2 || len(s.Damages) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestReadingChangedOnDiskIsDroppedAndTheQueueContinues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newCutDisk()
		var warned []error
		var dropped []Drop
		l, err := Open("", Options{
			Files: d, segmentSize: 250,
			Warn: func(err error) { warned = append(warned, err) }, Dropped: func(d Drop) {
				dropped = append(dropped,
					d)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		fill(t, l, 5)
		synctest.Wait()
		name := d.with(suffix)[0]
		b := d.names[name].data
		b[bytes.Index(b, []byte(bodyOf(2)))] ^= 1
		fill(t, l, 1)
		there, missing := remaining(t, l)
		if !slices.Equal(there, []uint64{1, 3, 4, 5, 6}) || !missing.has(2) {
			t.Errorf("handed out %v; named are %v", there, missing)
		}
		if len(warned) != 1 || len(dropped) != 1 || dropped[0].Numbers != (Range{2, 2}) ||
			dropped[0].Reason() != Damaged {
			t.Errorf("warned %v, dropped %v", warned, dropped)
		}
		for _, n := range there {
			l.Remove(n)
		}
		fill(t, l, 12)
		remaining(t, l)
		quiet()
		if d.names[name+damagedSuffix] == nil {
			t.Errorf("it is not kept: %v", slices.Sorted(maps.Keys(d.names)))
		}
	})
}

// openedOnce is a disk of which one file can be opened but once, by whoever loads the log, so that it
// is not open later.
type openedOnce struct {
	*cutDisk
	name   string
	opened atomic.Bool
}

func (d *openedOnce) Open(name string) (File, error) {
	f, err := d.cutDisk.Open(name)
	if err == nil && name == d.name && d.opened.Swap(true) {
		return nil, syscall.EMFILE
	}
	return f, err
}

func TestReadingsOfADeletedSegmentAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := old(t)
		var warned []error
		name := d.with(suffix)[1]
		l := openedOn(t, &openedOnce{cutDisk: d, name: name}, &warned)
		defer l.Close()
		synctest.Wait()
		if err := d.Remove(name); err != nil {
			t.Fatal(err)
		}
		there, missing := remaining(t, l)
		fill(t, l, 1)
		_, more := remaining(t, l)
		missing.addAll(more)
		for _, n := range oldLeft {
			if !slices.Contains(there, n) && !missing.has(n) {
				t.Errorf("%d is neither there nor named: there %v, named %v", n, there, missing)
			}
		}
		if len(warned) == 0 || len(there) == len(oldLeft) {
			t.Errorf("warned %v, there %v", warned, there)
		}
	})
}

func TestSegmentDeletedWhileTheLogIsClosedIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, closed := olds(t)
		for _, was := range []*cutDisk{open, closed} {
			segments := was.with(suffix)
			for _, name := range segments[:len(segments)-1] {
				d := was.clone()
				if err := d.Remove(name); err != nil {
					t.Fatal(err)
				}
				var warned []error
				var dropped ranges
				l, err := Open("", Options{
					Files: d, segmentSize: 250,
					Warn:    func(err error) { warned = append(warned, err) },
					Dropped: func(d Drop) { dropped.add(d.Numbers) },
				})
				if err != nil {
					t.Fatal(err)
				}
				there, missing := remaining(t, l)
				fill(t, l, 1)
				_, more := remaining(t, l)
				missing.addAll(more)
				absent := 0
				for _, n := range oldLeft {
					if slices.Contains(there, n) {
						continue
					}
					absent++
					if !missing.has(n) || !dropped.has(n) {
						t.Errorf("%s: %d is not there, named are %v, dropped %v", name, n, missing, dropped)
					}
				}
				if absent > 0 != (len(warned) == 1) {
					t.Errorf("%s: there are %v, and it warned %v", name, there, warned)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				if s, err := readFiles("", d); err != nil || len(s.Damages) > 0 {
					t.Errorf("%s: it is noticed again: %v, %v", name, s.Damages, err)
				}
			}
		}
	})
}

// A brokenSector is Files with a file that cannot be read at one place.
type brokenSector struct {
	Files
	name string
	at   int64
}

type brokenFile struct {
	File
	at int64
}

func (d brokenSector) Open(name string) (File, error) {
	f, err := d.Files.Open(name)
	if err == nil && name == d.name {
		f = brokenFile{f, d.at}
	}
	return f, err
}

func (f brokenFile) ReadAt(b []byte, at int64) (int, error) {
	if at <= f.at && f.at < at+int64(len(b)) {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(b, at)
}

func TestUnreadableSectorCostsOnlyItsReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newCutDisk()
		l, err := Open("", Options{Files: d})
		if err != nil {
			t.Fatal(err)
		}
		const count = 500
		fill(t, l, count)
		open := d.clone()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for _, d := range []*cutDisk{open, d} {
			name := d.with(suffix)[0]
			for _, at := range []int{0, page, len(d.names[name].data) / 2, len(d.names[name].data) - 1} {
				var warned []error
				warn := func(err error) { warned = append(warned, err) }
				l, err := Open("", Options{Files: brokenSector{d.clone(), name, int64(at)}, Warn: warn})
				if err != nil {
					t.Fatal(err)
				}
				there, missing := remaining(t, l)
				fill(t, l, 1)
				_, more := remaining(t, l)
				missing.addAll(more)
				if len(there) < count-page/30 || len(warned) != 1 {
					t.Errorf("at %d: %d of %d could be read; it warned %v", at, len(there), count, warned)
				}
				// else nothing knows the first and the last
				for n := uint64(1); n <= count && len(d.with(suffix)) > 1; n++ {
					if !slices.Contains(there, n) && !missing.has(n) {
						t.Errorf("at %d: %d is neither there nor named", at, n)
					}
				}
				l.Close()
			}
		}
	})
}

func TestReadingWrittenTwiceIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newCutDisk()
		l, err := Open("", Options{Files: d, segmentSize: 250, Limits: Limits{Full: Block}})
		if err != nil {
			t.Fatal(err)
		}
		fill(t, l, 1)
		d.broken = 1
		fill(t, l, 1) // 2 is written, and again a second later
		again := openedOn(t, changed(d, d.with(suffix)[1], func(b []byte) []byte {
			b[0] ^= 1 // without its header nothing knows that the segment before it failed
			return b
		}), nil)
		if there, _ := remaining(t, again); !slices.Equal(there, []uint64{1, 2}) {
			t.Errorf("with a damaged header: handed out %v", there)
		}
		again.Close()
		fill(t, l, 11)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			l = openedOn(t, d, nil)
			there, _ := remaining(t, l)
			if !slices.Contains(there, 2) {
				t.Fatalf("handed out %v", there)
			}
			for _, n := range there[2:] {
				l.Remove(n)
			}
			quiet()
			fill(t, l, 12)
			l.Close()
		}
	})
}

func TestSegmentOfAnotherOutboxIsKeptAndNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, other := newCutDisk(), newCutDisk()
		l := openedOn(t, other, nil)
		fill(t, l, 100)
		name := other.with(suffix)[0]
		l.Close()
		l = openedOn(t, d, nil)
		fill(t, l, 10)
		there, _ := remaining(t, l)
		for _, n := range there {
			l.Remove(n)
		}
		quiet() // the first segment is deleted
		fill(t, l, 5)
		l.Close()
		if d.names[name] != nil {
			t.Errorf("%s is there", name)
		}
		d.put(name, other.names[name].data)
		l = openedOn(t, d, nil)
		defer l.Close()
		there, missing := remaining(t, l)
		if !slices.Equal(there, []uint64{11, 12, 13, 14, 15}) || len(missing) > 0 {
			t.Errorf("handed out %v, named %v", there, missing)
		}
		for _, n := range there {
			l.Remove(n)
		}
		fill(t, l, 1)
		want(t, "the newest number", l.Last(), 16)
		quiet()
		if n := d.names[name+damagedSuffix]; n == nil || !bytes.Equal(n.data, other.names[name].data) {
			t.Errorf("it is not kept: %v", slices.Sorted(maps.Keys(d.names)))
		}
	})
}

func FuzzScanSegment(f *testing.F) {
	const name = "0000000001.log"
	d := newCutDisk()
	l, err := Open("", Options{Files: d})
	if err != nil {
		f.Fatal(err)
	}
	for range 3 {
		r := payloads.Reading{Body: []byte("x"), Properties: map[string]string{"a": "b"}}
		if _, err := l.Put(f.Context(), r, Stamp{}); err != nil {
			f.Fatal(err)
		}
	}
	l.Close()
	f.Add(d.names[name].data, int64(-1))
	f.Add(d.names[name].data, int64(100))
	f.Fuzz(func(t *testing.T, b []byte, end int64) {
		(&segment{name: name}).scan(b, end)
		// What is a record only by its checksum must do no harm either.
		whole := appendFrame(nil, name, end, func(p []byte) []byte { return append(p, b...) })
		s := (&segment{name: name}).scan(append(whole, whole...), -1)
		d := newCutDisk()
		d.put(name, append(whole, whole...))
		if _, err := readFiles("", d); err != nil && !errors.As(err, new(*statefile.VersionError)) {
			t.Error(err, s)
		}
	})
}

func TestFileThatCannotBeReadIsAnError(t *testing.T) {
	d := newCutDisk()
	d.put("0000000001.log", []byte("x"))
	if _, err := Open("", Options{Files: unreadable{d}}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("opened: %v", err)
	}
}

// unreadable is Files that may not be read.
type unreadable struct{ Files }

func (unreadable) Open(string) (File, error) { return nil, fs.ErrPermission }

// swollen is Files with one file that claims to be larger than any memory, as a sparse one may be.
type swollen struct {
	Files
	name string
}

type swollenFile struct{ File }

func (f swollenFile) Info() (fs.FileInfo, error) { return fakeInfo{size: 1 << 60}, nil }

func (d swollen) Open(name string) (File, error) {
	f, err := d.Files.Open(name)
	if err == nil && name == d.name {
		f = swollenFile{f}
	}
	return f, err
}

func TestHugeFileIsReadUpToALimit(t *testing.T) {
	for _, suffix := range []string{suffix, quarantineSuffix} {
		synctest.Test(t, func(t *testing.T) {
			d := old(t)
			files := swollen{d, d.with(suffix)[0]}
			l := openedOn(t, files, nil)
			defer l.Close()
			if there, _ := remaining(t, l); !slices.Equal(there, oldLeft) {
				t.Errorf("handed out %v", there)
			}
			if s, err := readFiles("", files); err != nil || s.Readings != len(oldLeft) {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func TestManySegmentsTakeLittleMemory(t *testing.T) {
	disk := newDisk()
	o := Options{Files: disk, segmentSize: 1}
	const count = 1500
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc - uint64(disk.used())
	}
	before := held()
	check := func(l *Log, err error) *Log {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := check(Open("", o))
	fillUp(t, l, count)
	if took := int64(held() - before); took > 8<<20 {
		t.Errorf("%d segments take %d bytes", count, took)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = check(Open("", o))
	defer l.Close()
	if took := int64(held() - before); took > 8<<20 {
		t.Errorf("opened, %d segments take %d bytes", count, took)
	}
	if n, _ := l.Pending(); n != count {
		t.Errorf("%d wait", n)
	}
}

// The newest epoch counts, so a file that was copied here can put all that waits aside.
func TestKeptSegmentOfAnotherOutboxIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, other := newCutDisk(), newCutDisk()
		l := openedOn(t, d, nil)
		fill(t, l, 3)
		own := d.with(suffix)[0]
		l.Close()
		l = openedOn(t, other, nil)
		fill(t, l, 100)
		there, _ := remaining(t, l)
		for _, n := range there {
			l.Remove(n)
		}
		quiet()
		fill(t, l, 1)
		l.Close()
		names := other.with(suffix)
		newest := names[len(names)-1]
		d.put(newest, other.names[newest].data)
		var warned []error
		l = openedOn(t, d, &warned)
		defer l.Close()
		if there, _ := remaining(t, l); len(there) > 0 {
			t.Errorf("handed out %v", there)
		}
		if text := fmt.Sprint(warned); !strings.Contains(text, own+" is of another outbox") {
			t.Errorf("it warned %v", text)
		}
	})
}
